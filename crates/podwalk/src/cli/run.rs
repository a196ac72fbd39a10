//! `podwalk run`: a file, flags, or both become one request.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use hyper::Method;
use podwalk_cri::config::{PodSandboxConfig, PortMapping, Protocol};

use super::{Exit, Output, USAGE};
use crate::api::{RunAnswer, RunRequest};
use crate::client::Client;

/// What `run` takes. Flags override and extend the file.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct RunArgs {
    /// A CRI PodSandboxConfig in JSON or YAML, as `crictl runp` takes it; - for
    /// standard input.
    file: Option<PathBuf>,
    /// The pod's name.
    #[arg(long)]
    name: Option<String>,
    /// `cni`, `host`, `none` or `pod:ID`.
    #[arg(long)]
    network: Option<String>,
    /// The runtime handler.
    #[arg(long, default_value = "")]
    runtime: String,
    /// A port of the host that leads to the pod: `[IP:]HOST:POD[/PROTO]`.
    #[arg(long = "port", value_name = "[IP:]HOST:POD[/PROTO]")]
    ports: Vec<String>,
    /// A label, `KEY=VALUE`.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// An annotation, `KEY=VALUE`.
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    annotations: Vec<String>,
    /// A sysctl, `KEY=VALUE`.
    #[arg(long = "sysctl", value_name = "KEY=VALUE")]
    sysctls: Vec<String>,
}

fn usage(message: impl Into<String>) -> Exit {
    Exit {
        code: USAGE,
        message: message.into(),
    }
}

pub(super) async fn run(client: &Client, output: Output, args: RunArgs) -> Result<(), Exit> {
    let request = args.into_request()?;
    let body = serde_json::to_vec(&request).context("the request cannot be written")?;
    let call = client.call(Method::POST, "/v1/pods", Some(body));
    let answer: RunAnswer =
        super::progress::told(client, &request.config.metadata.name, call).await?;
    match output {
        Output::Table => super::show::say(answer.id)?,
        Output::Json => super::show::json(&answer)?,
    }
    Ok(())
}

impl RunArgs {
    fn into_request(self) -> Result<RunRequest, Exit> {
        let mut config = match &self.file {
            None => PodSandboxConfig::default(),
            Some(path) => read(path)?,
        };
        if let Some(name) = self.name {
            config.metadata.name = name;
        }
        if config.metadata.name.is_empty() {
            return Err(usage(
                "a pod needs a name: give --name, or a FILE with metadata.name",
            ));
        }
        for port in &self.ports {
            config.port_mappings.push(parse_port(port)?);
        }
        let maps = [
            ("--label", self.labels, &mut config.labels),
            ("--annotation", self.annotations, &mut config.annotations),
            ("--sysctl", self.sysctls, &mut config.linux.sysctls),
        ];
        for (flag, pairs, map) in maps {
            for pair in pairs {
                let (key, value) = pair
                    .split_once('=')
                    .ok_or_else(|| usage(format!("{flag} '{pair}': it must be KEY=VALUE")))?;
                map.insert(key.to_owned(), value.to_owned());
            }
        }
        Ok(RunRequest {
            config,
            network: self.network,
            runtime_handler: self.runtime,
        })
    }
}

fn read(path: &std::path::Path) -> Result<PodSandboxConfig, Exit> {
    let text = match path.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin()),
        _ => std::fs::read_to_string(path),
    };
    let text = text.with_context(|| format!("{} cannot be read", path.display()))?;
    let config = PodSandboxConfig::parse(&text);
    Ok(config.with_context(|| format!("{} is not a PodSandboxConfig", path.display()))?)
}

/// `[IP:]HOST:POD[/PROTO]`; an IPv6 address stands in brackets.
fn parse_port(text: &str) -> Result<PortMapping, Exit> {
    let wrong = |why: &str| {
        usage(format!(
            "--port '{text}': {why}; it must be [IP:]HOST:POD[/tcp|udp|sctp], ports 1 to 65535"
        ))
    };
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return Err(wrong("unknown protocol")),
    };
    let (rest, pod) = numbers.rsplit_once(':').ok_or_else(|| wrong("no ':'"))?;
    let (ip, host) = rest.rsplit_once(':').unwrap_or(("", rest));
    let ip = ip
        .strip_prefix('[')
        .and_then(|ip| ip.strip_suffix(']'))
        .unwrap_or(ip);
    let number = |port: &str| match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(i32::from(port)),
        _ => Err(wrong("a port is wrong")),
    };
    Ok(PortMapping {
        protocol,
        container_port: number(pod)?,
        host_port: number(host)?,
        host_ip: ip.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_in_every_form() {
        for (text, ip, host, pod, protocol) in [
            ("8080:80", "", 8080, 80, Protocol::Tcp),
            (
                "127.0.0.1:53:5353/udp",
                "127.0.0.1",
                53,
                5353,
                Protocol::Udp,
            ),
            ("[fd00::1]:1:2/sctp", "fd00::1", 1, 2, Protocol::Sctp),
        ] {
            let port = parse_port(text).unwrap();
            assert_eq!((port.host_ip.as_str(), port.host_port), (ip, host));
            assert_eq!((port.container_port, port.protocol), (pod, protocol));
        }
    }

    #[test]
    fn a_wrong_port_is_a_usage_error_that_shows_the_form() {
        for text in ["80", "0:80", "80:0", "80:65536", "a:b", "80:80/icmp", ""] {
            let exit = parse_port(text).unwrap_err();
            assert_eq!(exit.code, USAGE);
            assert!(exit.message.contains("HOST:POD"), "{}", exit.message);
        }
    }

    #[test]
    fn a_pod_needs_a_name() {
        let exit = RunArgs::default().into_request().unwrap_err();
        assert_eq!(exit.code, USAGE);
        assert!(exit.message.contains("--name"));
    }
}
