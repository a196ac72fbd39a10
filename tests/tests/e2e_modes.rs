//! Network modes, several networks, and ports of the host.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::scene::{self, End, Scene, Told};
use podwalk_tests::{outside, wait};
use serde_json::{Value, json};

fn podnet() -> Bridge {
    Bridge::new("podnet", "10.88.0.0/24")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("no string")
}

#[test]
fn mode_none_has_a_namespace_with_lo_alone() -> Result<()> {
    node::run(Layout::V2, || {
        // Without any network configured: this mode needs none.
        let scene = Scene::open(&[])?;
        let client = scene.client();
        let id = client.run(&["--name", "quiet", "--network", "none"])?;
        let inspected = client.inspect(&id)?;
        ensure!(inspected["networkMode"] == "none" && inspected["ready"] == true);
        ensure!(inspected["networkSettings"]["Networks"] == json!({}));
        let told = Told::by(&inspected)?;
        let within = outside::namespace_of_process(told.pid)?;
        ensure!(outside::namespace_on(&told.key)? == Some(within));
        let interfaces = outside::interfaces(&told.key)?;
        ensure!(
            interfaces.len() == 1 && interfaces[0].name == "lo" && interfaces[0].is_up,
            "{interfaces:?}"
        );
        client.stop(&id)?;
        scene::is_stopped(&told)?;
        client.remove(&id)?;
        scene.close()
    })
}

#[test]
fn mode_host_is_in_the_host_s_namespace_and_has_no_file() -> Result<()> {
    node::run(Layout::V2, || {
        let scene = Scene::open(&[])?;
        let client = scene.client();
        let id = client.run(&["--name", "open", "--network", "host"])?;
        let inspected = client.inspect(&id)?;
        ensure!(inspected["networkMode"] == "host" && inspected["ready"] == true);
        ensure!(inspected["networkSettings"]["SandboxKey"] == "");
        ensure!(inspected["networkSettings"]["Activation"] == false);
        let pid = inspected["sandbox"]["pid"].as_u64().context("no pid")?;
        let own = outside::namespace_of_process(std::process::id().into())?;
        ensure!(outside::namespace_of_process(pid)? == own);
        ensure!(std::fs::read_dir("/run/netns")?.next().is_none());
        client.stop(&id)?;
        ensure!(!Path::new(&format!("/proc/{pid}")).exists());
        client.remove(&id)?;
        scene.close()
    })
}

#[test]
fn mode_pod_is_in_its_owner_s_namespace_also_after_a_restart() -> Result<()> {
    node::run(Layout::V2, || {
        let scene = Scene::open(&[podnet()])?;
        let client = scene.client();
        let owner = client.run(&["--name", "owner"])?;
        let told = scene::agrees_with_outside(&client.inspect(&owner)?)?;
        let mode = format!("pod:{owner}");
        let guest = client.run(&["--name", "guest", "--network", &mode])?;
        let inspected = client.inspect(&guest)?;
        ensure!(text(&inspected["networkMode"]) == mode);
        let key = text(&inspected["networkSettings"]["SandboxKey"]);
        ensure!(Path::new(key) == told.key, "{key} is not the owner's");
        let pid = inspected["sandbox"]["pid"].as_u64().context("no pid")?;
        ensure!(outside::namespace_of_process(pid)? == outside::namespace_of_process(told.pid)?);

        let scene = scene.restart(End::Kill)?;
        let client = scene.client();
        ensure!(client.inspect(&guest)?["ready"] == true);

        // The owner's network goes with the owner.
        client.stop(&owner)?;
        ensure!(client.inspect(&guest)?["ready"] == false);
        client.stop(&guest)?;
        client.remove(&guest)?;
        client.remove(&owner)?;
        scene.close()
    })
}

#[test]
fn mode_pod_is_refused_while_the_owner_does_not_run() -> Result<()> {
    node::run(Layout::V2, || {
        let scene = Scene::open(&[podnet()])?;
        let client = scene.client();
        let owner = client.run(&["--name", "owner"])?;
        client.stop(&owner)?;
        for (mode, word) in [
            (format!("pod:{owner}"), owner.as_str()),
            ("pod:nobody".to_owned(), "nobody"),
        ] {
            let refused = client.call(["run", "--name", "guest", "--network", &mode])?;
            ensure!(refused.code != 0, "{mode} was accepted");
            ensure!(refused.stderr.contains(word), "{}", refused.stderr);
        }
        ensure!(client.list(true)?.len() == 1);
        client.remove(&owner)?;
        scene.close()
    })
}

#[test]
fn scenario_44_the_default_network_s_address_is_first() -> Result<()> {
    node::run(Layout::V2, || {
        let second = Bridge::new("another", "10.99.0.0/24");
        let scene = Scene::open(&[podnet(), second])?;
        let client = scene.client();
        let networks = "k8s.v1.cni.cncf.io/networks=another";
        let id = client.run(&["--name", "two", "--annotation", networks])?;
        let inspected = client.inspect(&id)?;
        let settings = &inspected["networkSettings"];
        ensure!(text(&settings["IPAddress"]).starts_with("10.88.0."));
        let extra = &settings["Networks"]["another"];
        ensure!(text(&extra["IPAddress"]).starts_with("10.99.0."), "{extra}");
        let told = Told::by(&inspected)?;
        let interfaces = outside::interfaces(&told.key)?;
        for network in ["podnet", "another"] {
            let said = &settings["Networks"][network];
            let seen = interfaces
                .iter()
                .find(|one| one.name == text(&said["IFName"]))
                .with_context(|| format!("no interface for {network}"))?;
            let address: IpAddr = text(&said["IPAddress"]).parse()?;
            ensure!(seen.addresses.iter().any(|(one, _)| *one == address));
            ensure!(seen.mac == text(&said["MacAddress"]));
            ensure!(outside::answers(address)?);
        }
        ensure!(interfaces.len() == 3, "{interfaces:?}");
        let row = client.list(false)?.remove(0);
        ensure!(row["ip"] == settings["IPAddress"]);
        client.stop(&id)?;
        scene::is_stopped(&told)?;
        client.remove(&id)?;
        scene.close()
    })
}

/// A server inside a namespace that greets everyone who connects; it is ready when it has said so.
fn greeter(key: &Path, port: u16) -> Result<Child> {
    let server = format!("while true; do echo hello | busybox nc -l -p {port}; done");
    let child = Command::new("nsenter")
        .arg(format!("--net={}", key.display()))
        .args(["sh", "-c", &server])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .process_group_of_its_own()
        .spawn()?;
    Ok(child)
}

trait OwnGroup {
    fn process_group_of_its_own(&mut self) -> &mut Self;
}

impl OwnGroup for Command {
    fn process_group_of_its_own(&mut self) -> &mut Self {
        std::os::unix::process::CommandExt::process_group(self, 0)
    }
}

fn end(mut child: Child) -> Result<()> {
    let group = i32::try_from(child.id()).ok();
    let group = group
        .and_then(rustix::process::Pid::from_raw)
        .context("a pid")?;
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL)?;
    child.wait()?;
    Ok(())
}

fn greeting(address: SocketAddr) -> Result<Option<String>> {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(5)) else {
        return Ok(None);
    };
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let _ = stream.write_all(b"\n");
    let mut text = String::new();
    let read = stream.read_to_string(&mut text);
    Ok((read.is_ok() && !text.is_empty()).then_some(text))
}

#[test]
fn a_port_of_the_host_leads_to_the_pod_and_is_free_again() -> Result<()> {
    node::run(Layout::V2, || {
        let scene = Scene::open(&[podnet().masqueraded().with_ports()])?;
        let client = scene.client();
        let ports = ["--port", "8080:80", "--port", "5353:53/udp"];
        let id = client.run(&[&["--name", "web"][..], &ports].concat())?;
        let inspected = client.inspect(&id)?;
        let told = scene::agrees_with_outside(&inspected)?;
        let settings = &inspected["networkSettings"];
        ensure!(
            settings["Ports"]["80/tcp"]["host"] == json!([{"HostIP": "", "HostPort": "8080"}]),
            "{settings:#}"
        );
        ensure!(settings["CNIPorts"][1]["protocol"] == "udp");

        let server = greeter(&told.key, 80)?;
        // The port leads there by the node's own address, as from a neighbour.
        let gateway: IpAddr = text(&settings["Gateway"]).parse()?;
        let heard = wait::until(Duration::from_secs(60), || {
            greeting(SocketAddr::new(gateway, 8080))
        })?;
        end(server)?;
        ensure!(heard.as_deref() == Some("hello\n"), "{heard:?}");

        client.stop(&id)?;
        let free = greeting(SocketAddr::new(gateway, 8080))?;
        ensure!(free.is_none(), "the port still leads somewhere");
        // Another pod may have it now.
        let next = client.run(&[&["--name", "next"][..], &ports].concat())?;
        scene::agrees_with_outside(&client.inspect(&next)?)?;
        for pod in [&id, &next] {
            client.stop(pod)?;
            client.remove(pod)?;
        }
        scene.close()
    })
}

#[test]
fn scenario_43_ports_of_three_protocols_reach_the_rules() -> Result<()> {
    node::run(Layout::V2, || {
        let network = podnet().and("fd00:88::/64").with_ports();
        let scene = Scene::open(&[network])?;
        let client = scene.client();
        let ports = ["8080:80/tcp", "127.0.0.1:5353:53/udp", "3868:3868/sctp"];
        let mut arguments = vec!["--name", "three"];
        for port in ports {
            arguments.extend(["--port", port]);
        }
        let id = client.run(&arguments)?;
        let told = scene::agrees_with_outside(&client.inspect(&id)?)?;
        let rules = outside::output(&mut Command::new("iptables-save"))?;
        let rules6 = outside::output(&mut Command::new("ip6tables-save"))?;
        let v4 = told.addresses.iter().find(|(one, _)| one.is_ipv4());
        let v4 = v4.context("no address")?.0;
        for (protocol, port) in [("tcp", 80), ("udp", 53), ("sctp", 3868)] {
            let to = format!("--to-destination {v4}:{port}");
            let is_there = |line: &&str| line.contains(&to) && line.contains(protocol);
            ensure!(
                rules.lines().any(|line| is_there(&line)),
                "no {protocol}: {rules}"
            );
        }
        ensure!(rules.contains("127.0.0.1/32"), "no host address: {rules}");
        ensure!(rules6.contains(":3868"), "nothing for version 6: {rules6}");
        client.stop(&id)?;
        client.remove(&id)?;
        scene.close()
    })
}
