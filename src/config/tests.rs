use std::io::Write as _;

use proptest::prelude::*;

use super::settings::Preset;
use super::*;
use crate::environment::variable;
use crate::telemetry::LogFormat;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn env(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn load(text: &str, pairs: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let file = file(text);
    Config::load(Some(file.path()), env(pairs))
}

fn complaint(text: &str, pairs: &[(&str, &str)]) -> String {
    let line = load(text, pairs).unwrap_err().to_string();
    assert!(!line.contains('\n'), "one line: {line}");
    line
}

fn defaults() -> Config {
    Config::load(None, env(&[])).unwrap().config
}

#[test]
fn every_default_obeys_its_own_rule_and_warns_of_nothing() {
    let loaded = Config::load(None, env(&[])).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(loaded.config.conference_limits(), Limits::default());
    for setting in &SETTINGS {
        if let Preset::Number { default, min, max } = setting.default {
            assert!((min..=max).contains(&default), "{}", setting.key);
        }
    }
}

#[test]
fn the_printed_file_names_every_setting_and_reads_back_as_the_default() {
    let printed = annotated_defaults();
    for setting in &SETTINGS {
        assert_eq!(printed.matches(&format!("\n{} = ", setting.key)).count(), 1, "{}", setting.key);
    }
    let loaded = load(&printed, &[]).unwrap();
    assert_eq!(loaded.config, defaults());
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

#[test]
fn the_environment_is_stronger_than_the_file_and_the_file_than_the_defaults() {
    let text = "drain_ms = 1\nplay_wait_ms = 2\nlog_format = \"json\"";
    let config = load(text, &[("TIDEGATE_DRAIN_MS", "7"), ("OTHER", "x")]).unwrap().config;
    let expected = Config { drain_ms: 7, play_wait_ms: 2, log_format: LogFormat::Json, ..defaults() };
    assert_eq!(config, expected);
}

#[test]
fn an_unknown_key_names_itself_the_file_and_the_nearest_known_key() {
    let line = complaint("drian_ms = 1", &[]);
    assert!(line.contains("`drian_ms`") && line.contains(".toml") && line.contains("`drain_ms`"), "{line}");
    let line = complaint("[rtmp]\nlisten = 1", &[]);
    assert!(line.contains("`rtmp`"), "{line}");
    let line = complaint("zzz = 1", &[]);
    assert!(line.contains("`zzz`") && !line.contains("did you mean"), "{line}");
}

#[test]
fn an_unknown_environment_name_is_a_warning() {
    let loaded = load("", &[("TIDEGATE_DRIAN_MS", "1"), ("TIDEGATE_PORT", "tcp://10.0.0.1")]).unwrap();
    let [first, second] = &loaded.warnings[..] else { panic!("{:?}", loaded.warnings) };
    assert!(first.contains("TIDEGATE_DRIAN_MS") && first.contains("TIDEGATE_DRAIN_MS"), "{first}");
    assert!(second.contains("TIDEGATE_PORT"), "{second}");
}

#[test]
fn a_wrong_number_names_key_value_origin_and_range() {
    for (text, pairs, shown, origin) in [
        ("drain_ms = \"5\"", &[][..], "\"5\"", ".toml"),
        ("drain_ms = -1", &[], "-1", ".toml"),
        ("drain_ms = 1.5", &[], "1.5", ".toml"),
        ("drain_ms = true", &[], "true", ".toml"),
        ("drain_ms = [1]", &[], "an array", ".toml"),
        ("drain_ms = 3600001", &[], "3600001", ".toml"),
        ("", &[("TIDEGATE_DRAIN_MS", "5s")], "\"5s\"", "TIDEGATE_DRAIN_MS"),
        ("", &[("TIDEGATE_DRAIN_MS", "")], "\"\"", "TIDEGATE_DRAIN_MS"),
        ("", &[("TIDEGATE_DRAIN_MS", "+5")], "\"+5\"", "TIDEGATE_DRAIN_MS"),
        ("drain_ms = 1", &[("TIDEGATE_DRAIN_MS", "99999999999999999999")], "99999", "TIDEGATE_DRAIN_MS"),
    ] {
        let line = complaint(text, pairs);
        for part in ["`drain_ms`", shown, origin, "from 0 to 3600000"] {
            assert!(line.contains(part), "{part:?} is not in: {line}");
        }
    }
}

#[test]
fn a_wrong_text_names_the_form() {
    let line = complaint("rtmp_listen = \":1935\"", &[]);
    assert!(line.contains("\":1935\"") && line.contains("host:port"), "{line}");
    let line = complaint("rtmp_listen = 1935", &[]);
    assert!(line.contains("1935") && line.contains("in quotes"), "{line}");
    let line = complaint("", &[("TIDEGATE_LOG", "chatty")]);
    assert!(line.contains("\"chatty\"") && line.contains("TIDEGATE_LOG"), "{line}");
    let line = complaint("log_format = \"xml\"", &[]);
    assert!(line.contains("\"text\" or \"json\""), "{line}");
}

#[test]
fn digits_in_the_environment_stay_the_text_they_are() {
    let token = "00112233445566778899";
    let config = load("", &[("TIDEGATE_OPS_TOKEN", token)]).unwrap().config;
    assert_eq!(config.ops_token.unwrap().0.expose(), token);
}

#[test]
fn a_secret_is_shown_in_no_error_and_no_debug_text() {
    let secret = "too-short-6hK";
    for (text, pairs) in [
        (format!("ops_token = \"{secret}\""), &[][..]),
        (format!("ops_token = [\"{secret}\"]"), &[]),
        (format!("ops_token = \"{secret}\" x"), &[]),
        (format!("ops_token = \"{secret}"), &[]),
        (String::new(), &[("TIDEGATE_OPS_TOKEN", secret)]),
    ] {
        let line = complaint(&text, pairs);
        assert!(!line.contains(secret), "{line}");
    }
    let long = format!("{secret}-and-sixteen-more");
    let loaded = load("", &[("TIDEGATE_OPS_TOKEN", &long)]).unwrap();
    assert!(!format!("{loaded:?}").contains(secret));
}

#[test]
fn broken_toml_names_the_line() {
    let line = complaint("drain_ms = 1\nlog = = 2", &[]);
    assert!(line.contains("line 2") && line.contains(".toml"), "{line}");
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Some(Path::new("/nowhere/tidegate.toml")), env(&[])).unwrap_err();
    assert!(error.to_string().contains("/nowhere/tidegate.toml"), "{error}");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let line = complaint("rtc_lag_max_ms = 5000\nring_ms_max = 1000\nlive_lag_max_ms = 1000", &[]);
    assert!(line.contains("`rtc_lag_max_ms` (5000)") && line.contains("`ring_ms_max` (1000)"), "{line}");
    let line = complaint("rtc_burst_ms = 3000", &[]);
    assert!(line.contains("`rtc_burst_ms` (3000)"), "{line}");
}

#[test]
fn open_metrics_without_a_token_are_warned_of() {
    let open = [("TIDEGATE_OPS_LISTEN", "127.0.0.1:0,0.0.0.0:9090")];
    let loaded = load("", &open).unwrap();
    assert!(loaded.warnings[0].contains("ops_token"), "{:?}", loaded.warnings);
    let loaded = load("ops_token = \"0123456789abcdef\"", &open).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

proptest! {
    #[test]
    fn no_text_of_a_value_makes_more_than_one_line_of_complaint(value in any::<String>(), at in 0..SETTINGS.len()) {
        let name = variable(SETTINGS[at].key);
        if let Err(error) = Config::load(None, env(&[(&name, &value)])) {
            prop_assert!(!error.to_string().contains(['\n', '\r']));
            prop_assert!(error.to_string().len() < 1200);
        }
    }
}
