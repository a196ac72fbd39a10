use super::*;

fn patient(handler: &str) -> Patient {
    Patient {
        id: "0a".to_owned(),
        name: "web".to_owned(),
        handler: handler.to_owned(),
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_with_a_remedy_and_what_is_well_too() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    file("10-bad.conflist", "{");
    file(
        "20-net.conflist",
        r#"{"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "nobody-has-it"}]}"#,
    );
    let text = format!(
        "[cni]\nconf_dir = '{0}'\n[runtime]\ndefault = 'truth'\n\
         [runtime.handlers.truth]\nbinary = 'true'\n\
         [runtime.handlers.gone]\nbinary = '/nowhere/gone'\ncni_conf_dir = '{0}/none'\n",
        directory.path().display()
    );
    let config = Config::parse(&text).unwrap();
    let pods = [patient(""), patient("gone"), patient("vanished")];
    let findings = examine(&config, &pods).await.unwrap();
    let told: Vec<_> = findings
        .iter()
        .map(|one| (one.about.as_str(), one.ok, one.remedy.is_empty()))
        .collect();
    let path = |name: &str| directory.path().join(name).display().to_string();
    assert_eq!(
        told,
        [
            ("runtime gone", false, false),
            ("runtime truth", true, true),
            (&*format!("file {}", path("10-bad.conflist")), false, false),
            ("network net", false, false),
            (&*format!("directory {}", path("none")), false, false),
            ("pod 0a (web)", false, false),
        ]
    );
    let pod = findings.last().unwrap();
    assert!(pod.says.contains("'vanished'"), "{pod:?}");
    assert!(pod.remedy.contains("runtime.handlers.vanished"), "{pod:?}");
}

#[test]
fn only_handlers_that_somebody_asked_for_are_looked_at() {
    let config = Config::default();
    let pods = [patient(""), patient("runsc"), patient("runsc")];
    assert_eq!(wanted(&config, &pods), ["crun", "runsc"]);
    assert_eq!(wanted(&config, &[]), ["crun"]);
}
