//! What deploy/docker/Dockerfile says of the image, done without an engine: a Debian that is mounted read-only, its user, its environment, its
//! volume, its commands. What the engine itself does (building, networks, restarts) is not tried.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::deploy;
use crate::support::process::{PATIENCE, Said, Stage, TOKENWATCH, program, wait_until};

#[test]
fn the_image_needs_no_root_and_writes_to_its_volume_only() {
    let (stage, recipe) = (Stage::new(), Recipe::read());
    stage.write_env(&[("FIRST", &stage.issue_healthy())]);
    let place = Place::prepare(&stage, &recipe);
    let mut daemon =
        stage.start_as(&mut place.enter(&recipe, &[recipe.entrypoint.clone(), recipe.command.clone()].concat()));
    daemon.wait_ready();

    // The health check is one, and by the same way one learns what the daemon knows.
    let said = place.beside(&recipe, daemon.id(), &recipe.health);
    assert_eq!((said.code, &*said.out), (0, "ok\n"), "{}", said.err);
    let said = place.beside(&recipe, daemon.id(), &["tokenwatch", "status", "--json"].map(str::to_owned));
    let status: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(status["tokens"][0]["verdict"], "healthy", "{status}");

    let shell =
        |line: &str| place.beside(&recipe, daemon.id(), &["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()]);
    assert_eq!(shell("id -u; id -g").out, recipe.user.replace(':', "\n") + "\n");
    for folder in ["/", "/etc/tokenwatch", "/usr/bin", "/var/lib", "/run"] {
        let said = shell(&format!("touch {folder}/x"));
        assert!(said.code != 0 && said.err.contains("Read-only"), "{folder}: {}", said.err);
    }
    assert!(
        shell("grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status")
            .out
            .lines()
            .all(|line| line.ends_with("\t0000000000000000"))
    );
    assert!(place.state.join("tokenwatch.db").exists(), "the state is on the volume");

    // It says no as soon as the daemon does not answer.
    daemon.pause();
    assert_ne!(
        place
            .beside(
                &recipe,
                daemon.id(),
                &[&["/usr/bin/timeout".to_owned(), recipe.timeout.clone()], &recipe.health[..]].concat()
            )
            .code,
        0
    );
    daemon.resume();
    wait_until("the daemon to answer again", PATIENCE, || place.beside(&recipe, daemon.id(), &recipe.health).code == 0);
    assert!(daemon.runs());
    assert_eq!(daemon.stop(), 0, "{}", stage.log());
}

/// What the Dockerfile says of the image that it makes.
struct Recipe {
    user: String,
    environment: Vec<String>,
    volume: String,
    entrypoint: Vec<String>,
    command: Vec<String>,
    health: Vec<String>,
    timeout: String,
}

impl Recipe {
    fn read() -> Self {
        let text = deploy::text("docker/Dockerfile");
        let last = text.rsplit("\nFROM ").next().unwrap_or_default().to_owned();
        let value = |name: &str| {
            let found = last.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            assert!(found.is_some(), "the image has no {name}");
            found.unwrap_or_default().to_owned()
        };
        let words = |text: &str| serde_json::from_str::<Vec<String>>(text).expect("a list in JSON");
        let health = value("HEALTHCHECK");
        let (options, health) = health.split_once("CMD ").expect("a command");
        let timeout = options.split_whitespace().find_map(|option| option.strip_prefix("--timeout=")).expect("a limit");
        Self {
            user: value("USER"),
            environment: value("ENV").split_whitespace().map(str::to_owned).collect(),
            volume: value("VOLUME"),
            entrypoint: words(&value("ENTRYPOINT")),
            command: words(&value("CMD")),
            health: words(health),
            timeout: timeout.to_owned(),
        }
    }

    /// User and group.
    fn ids(&self) -> (u32, u32) {
        let (user, group) = self.user.split_once(':').expect("user:group");
        (user.parse().expect("a number"), group.parse().expect("a number"))
    }
}

/// Where the image is mounted, and what lies upon the Debian in it.
struct Place {
    root: PathBuf,
    image: PathBuf,
    at: PathBuf,
    state: PathBuf,
    volume: String,
    listen: String,
}

impl Place {
    fn prepare(stage: &Stage, recipe: &Recipe) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/root");
        assert!(root.join("usr/bin/setpriv").exists(), "{} is not there; run tests/tools.sh", root.display());
        assert!(rustix::process::geteuid().is_root(), "only root can mount");
        let (image, at, state) = (stage.path("image"), stage.path("at"), stage.path("volume"));
        for folder in ["usr/bin", "etc/tokenwatch", "run/tokenwatch", "var/lib/tokenwatch", "srv"] {
            fs::create_dir_all(image.join(folder)).expect("a folder");
        }
        fs::create_dir_all(&at).and_then(|()| fs::create_dir_all(&state)).expect("a folder");
        // Where the binary is mounted; it is too large to be copied.
        fs::write(image.join("usr/bin/tokenwatch"), "").expect("a file");
        let config = stage.config("", &stage.token("first", "FIRST"));
        let config = config.replace(&stage.path("config.env").display().to_string(), "/srv/config.env");
        let config: Vec<&str> =
            config.lines().filter(|line| !line.starts_with("state") && !line.starts_with("listen")).collect();
        fs::write(image.join("etc/tokenwatch/tokenwatch.toml"), config.join("\n")).expect("a file");
        fs::copy(stage.path("config.env"), image.join("srv/config.env")).expect("a file");
        let (user, group) = recipe.ids();
        // A volume that is new has the owner and the mode of the folder in the image.
        chown(&state, Some(user), Some(group)).expect("root may");
        fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).expect("ours");
        fs::set_permissions(stage.folder.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        let listen = format!("TOKENWATCH__DAEMON__LISTEN=127.0.0.1:{}", stage.port);
        Self { root, image, at, state, volume: recipe.volume.clone(), listen }
    }

    /// The command that mounts the image and becomes these words in it.
    fn enter(&self, recipe: &Recipe, words: &[String]) -> Command {
        let (user, group) = recipe.ids();
        let (at, volume) = (self.at.display(), &self.volume);
        // Of lower folders alone an overlay cannot be written to. The line of the compose file mounts /run/tokenwatch.
        let script = format!(
            "mount -t overlay image -o lowerdir={}:{} {at}\n\
             mount --bind {TOKENWATCH} {at}/usr/bin/tokenwatch\nmount -o remount,bind,ro {at}/usr/bin/tokenwatch\n\
             mount --bind {} {at}{volume}\n\
             mount -t tmpfs -o uid={user},gid={group},mode=0750 tmpfs {at}/run/tokenwatch\n\
             mount -t proc proc {at}/proc\n\
             exec chroot {at} \"$@\"",
            self.image.display(),
            self.root.display(),
            self.state.display(),
        );
        let mut command = Command::new(program(&["unshare"]));
        command.args(["--mount", "/bin/sh", "-ec", &script, "sh"]).args(self.lowered(recipe)).args(words);
        command
    }

    /// Runs a command in the same container, as an engine runs the health check.
    fn beside(&self, recipe: &Recipe, daemon: u32, words: &[String]) -> Said {
        let mut command = Command::new(program(&["nsenter"]));
        command
            .args(["--target", &daemon.to_string(), "--mount", "--root", "--wd=/"])
            .args(self.lowered(recipe))
            .args(words);
        let output = command.env_clear().stdin(Stdio::null()).output().expect("nsenter runs");
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The user without any capability, and the environment of the image.
    fn lowered(&self, recipe: &Recipe) -> Vec<String> {
        let (user, group) = recipe.ids();
        let words = ["/usr/bin/setpriv", &format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups"];
        let rights = ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"];
        let clean =
            ["/usr/bin/env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", &self.listen];
        let all = words.into_iter().chain(rights).chain(clean).map(str::to_owned);
        all.chain(recipe.environment.iter().cloned()).collect()
    }
}
