use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use super::super::Meeting;
use super::*;

fn config(yaml: &str) -> Result<Config, ConfigError> {
    parse(yaml, "sala.yaml")
}

fn problem(yaml: &str) -> String {
    config(yaml).unwrap_err().to_string()
}

/// A file of this test with these permissions.
fn file(name: &str, mode: u32, content: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("sala-config-{}-{name}", std::process::id()));
    let _ = fs::remove_file(&path);
    let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(mode).open(&path).unwrap();
    file.write_all(content.as_bytes()).unwrap();
    path
}

#[test]
fn an_empty_configuration_is_the_default() {
    assert_eq!(config("").unwrap(), Config::default());
    assert_eq!(config("rtc: {}").unwrap(), Config::default());
}

#[test]
fn livekits_example_keys_are_understood() {
    let yaml = "
port: 7880
bind_addresses: ['127.0.0.1', '::1']
keys:
  zeta: one
  alpha: two
rtc:
  port_range_start: 50000
  port_range_end: 50010
  tcp_port: 7881
  node_ip: 203.0.113.7
  turn_servers: [{host: turn.example, port: 3478, protocol: udp, username: u, credential: c}]
  congestion_control: {allow_pause: true}
room:
  auto_create: false
  enabled_codecs: [{mime: audio/opus}, {mime: video/VP8}]
video: {dynacast_pause_delay: 7s}
logging: {level: debug, json: true}
";
    let config = config(yaml).unwrap();
    assert_eq!(config.video.dynacast_pause_delay, Duration::from_secs(7));
    assert!(config.rtc.congestion_control.allow_pause && !config.room.auto_create);
    assert_eq!(config.key_store(None).unwrap().first().0, "zeta", "the first key of the file signs");
}

#[test]
fn a_typo_is_named_with_its_line_and_the_key_that_was_meant() {
    assert_eq!(
        problem("port: 1\nrtc:\n  upd_port: 5\n"),
        "sala.yaml, line 3: unknown key `upd_port`; did you mean `udp_port`?"
    );
}

#[test]
fn a_key_that_only_livekit_has_is_not_taken_for_a_typo() {
    assert_eq!(
        problem("redis:\n  address: x\n"),
        "sala.yaml, line 1: unknown key `redis`; LiveKit has it, Sala does not: remove it"
    );
}

#[test]
fn wrong_values_are_named() {
    assert!(problem("port: many").contains("sala.yaml is not valid"));
    assert!(problem("video: {dynacast_pause_delay: '5'}").contains("no unit"));
    assert!(problem("port: [").contains("sala.yaml is not valid"));
}

#[test]
fn an_error_never_shows_a_secret() {
    let problem = problem("keys:\n  k: hunter2\nport: x\n");
    assert!(!problem.contains("hunter2"), "{problem}");
    assert!(!format!("{:?}", config("keys: {k: hunter2}").unwrap()).contains("hunter2"));
}

#[test]
fn keys_come_from_the_environment_too() {
    let keys = Config::default().key_store(Some("a: b")).unwrap();
    assert_eq!(keys.first().0, "a");
    assert!(Config::default().key_store(None).unwrap_err().to_string().contains("sala keys generate"));
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let with = |key_file| Config { key_file: Some(key_file), ..Config::default() }.key_store(None);
    let open = with(file("open", 0o644, "a: b"));
    assert!(matches!(open, Err(ConfigError::Exposed(_))), "{open:?}");
    assert_eq!(with(file("closed", 0o600, "a: b")).unwrap().first().0, "a");
    assert!(matches!(with("/nowhere".into()), Err(ConfigError::Unreadable { .. })));
}

#[test]
fn the_administrators_password_comes_from_the_environment_or_a_file() {
    let meeting = |name, content| Meeting {
        admin_password_file: Some(file(name, 0o600, content)),
        ..Meeting::default()
    };
    let config = Config { meeting: meeting("password", "pass word\n"), ..Config::default() };
    assert_eq!(config.admin_password(None).unwrap().unwrap().reveal(), "pass word");
    assert_eq!(config.admin_password(Some("env".into())).unwrap().unwrap().reveal(), "env");
    let empty = Config { meeting: meeting("empty", " \n"), ..Config::default() };
    assert!(matches!(empty.admin_password(None), Err(ConfigError::EmptyPassword(_))));
    assert_eq!(Config::default().admin_password(None).unwrap(), None);
}

#[test]
fn an_unreadable_file_is_named() {
    let error = load(Path::new("/nowhere/sala.yaml")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read /nowhere/sala.yaml"), "{error}");
}
