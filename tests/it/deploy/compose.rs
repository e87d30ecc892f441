//! The compose file: no engine runs here, so it is read. What it mounts is there, what it runs is pinned, and nothing has more rights than it needs.

use serde_yaml_ng::Value;

use super::{list, shipped, string, yaml};

fn services() -> Vec<(String, Value)> {
    let file = yaml("docker/compose.yml");
    let services = file["services"].as_mapping().expect("services").clone();
    let services: Vec<(String, Value)> = services.into_iter().map(|(name, value)| (string(&name), value)).collect();
    assert_eq!(services.len(), 4);
    services
}

#[test]
fn what_is_mounted_is_there() {
    let mut looked_at = 0;
    for (name, service) in services() {
        for mount in list(&service["volumes"]) {
            let mount = string(&mount);
            let source = mount.split(':').next().unwrap_or_default();
            if !source.starts_with('.') {
                let volumes = &yaml("docker/compose.yml")["volumes"];
                assert!(volumes.get(source).is_some(), "{name}: no volume is called {source}");
                continue;
            }
            assert!(mount.ends_with(":ro"), "{name} may write to {source}");
            let path = shipped("docker").join(source);
            // What everybody has for themselves is not shipped.
            if !source.starts_with("./own/") {
                assert!(path.exists(), "{name} mounts {}, which is not there", path.display());
            }
            looked_at += 1;
        }
    }
    assert!(looked_at >= 6, "the search found too little");
}

#[test]
fn what_runs_is_pinned_and_may_do_little() {
    for (name, service) in services() {
        let image = string(&service["image"]);
        let tag = image.rsplit(':').next().unwrap_or_default();
        assert!(service.get("build").is_some() || tag.chars().any(|c| c.is_ascii_digit()), "{name}: {image}");
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(string(&service["cap_drop"][0]), "ALL", "{name}");
        assert_eq!(string(&service["security_opt"][0]), "no-new-privileges:true", "{name}");
        let user = string(&service["user"]);
        assert!(!user.is_empty() && !user.starts_with('0') && !user.starts_with("root"), "{name} runs as {user:?}");
        assert!(!list(&service["healthcheck"]["test"]).is_empty(), "{name} has no health check");
        for port in list(&service["ports"]) {
            assert!(string(&port).starts_with("127.0.0.1:"), "{name} is open to everybody: {port:?}");
        }
    }
}

#[test]
fn the_services_find_each_other() {
    let names: Vec<String> = services().into_iter().map(|(name, _)| name).collect();
    let prometheus = super::text("prometheus/prometheus.yml");
    for (name, port) in [("tokenwatch", 9847), ("alertmanager", 9093)] {
        assert!(names.iter().any(|known| known == name), "{names:?}");
        assert!(prometheus.contains(&format!("'{name}:{port}'")), "Prometheus does not know {name}:{port}");
    }
}
