//! The house in order: what a function must have so that it is found, deployed, watched and secured. Each failure says what is
//! missing and where it belongs.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// HTTP functions that anybody may call. The callback lets in by token or signature and the webhooks by signature, which their own
/// tests show; list-images shows what everybody may see.
const PUBLIC: [&str; 4] = ["list-images", "n8n-callback", "replicate-webhook", "stripe-webhook"];

/// Settings of one machine: in the cloud their defaults hold.
const LOCAL: [&str; 5] =
    ["FAL_API_URL", "FAL_PLATFORM_URL", "LOCAL_IMAGE_ORIGIN", "REPLICATE_API_URL", "STRIPE_API_URL"];

/// Where the repository is.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of a file of the repository.
pub fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The folders in a folder of the repository.
pub fn folders(path: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(path)).unwrap().map(Result::unwrap);
    entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// The resource of template.yaml whose CodeUri is this function's: its logical id and its lines.
pub fn resource(template: &str, function: &str) -> Option<(String, String)> {
    let uri = format!("CodeUri: target/lambda/{function}/");
    resources(template).into_iter().find(|(_, lines)| lines.lines().any(|line| line.trim() == uri))
}

/// Every resource of template.yaml by logical id: the lines below a key that is indented by two.
fn resources(template: &str) -> Vec<(String, String)> {
    let body = template.split("\nResources:\n").nth(1).expect("template.yaml has Resources");
    let body = body.split("\nOutputs:\n").next().unwrap();
    let mut found: Vec<(String, String)> = Vec::new();
    for line in body.lines() {
        let key = line.strip_prefix("  ").and_then(|line| line.strip_suffix(':'));
        match key.filter(|key| key.chars().all(char::is_alphanumeric)) {
            Some(key) => found.push((key.to_owned(), String::new())),
            None => {
                if let Some((_, lines)) = found.last_mut() {
                    lines.push_str(line);
                    lines.push('\n');
                }
            }
        }
    }
    found
}

#[test]
fn every_function_has_what_a_function_needs() {
    let template = read("template.yaml");
    let readme = read("README.md");
    let unauthenticated = read("tests/it/auth_tokens.rs");
    let doctor = read("operate/src/doctor.rs");
    for function in folders("functions") {
        let crate_name = function.replace('-', "_");
        let manifest = read(format!("functions/{function}/Cargo.toml"));
        assert!(
            manifest.contains(&format!("name = \"{function}\"")),
            "functions/{function}: the package must be named alike"
        );
        for file in ["src/main.rs", "src/lib.rs", "src/config.rs"] {
            let text = read(format!("functions/{function}/{file}"));
            assert!(text.starts_with("//! "), "functions/{function}/{file} must begin with a //! contract");
        }
        let (_, block) = resource(&template, &function)
            .unwrap_or_else(|| panic!("template.yaml has no function with CodeUri target/lambda/{function}/"));
        let events = root().join("events").join(&function);
        let count = fs::read_dir(&events).map(Iterator::count).unwrap_or_default();
        assert!(count > 0, "events/{function}/ needs at least one AWS envelope; tests/it/events.rs runs it");
        assert!(readme.contains(&format!("functions/{function}")), "README.md has no row for functions/{function}");
        assert!(
            doctor.contains(&format!("(\"{function}\",")),
            "operate/src/doctor.rs does not look at the settings of {function}: add it to FUNCTIONS"
        );
        let over_http = block.contains("Type: HttpApi") || block.contains("FunctionUrlConfig");
        if over_http && !PUBLIC.contains(&function.as_str()) {
            assert!(
                unauthenticated.contains(&format!("{crate_name}::handle")),
                "{function} answers HTTP: call it without a token in tests/it/auth_tokens.rs, or add it to PUBLIC here"
            );
        }
    }
}

#[test]
fn every_setting_of_a_function_is_in_its_template_block_and_the_other_way_round() {
    let template = read("template.yaml");
    let globals = template.split("\nResources:\n").next().unwrap();
    for function in folders("functions") {
        let mut config = read(format!("functions/{function}/src/config.rs"));
        if config.contains("auth::Config::read") {
            config.push_str(&read("shared/auth/src/config.rs"));
        }
        let wanted: BTreeSet<&str> = config
            .split('"')
            .skip(1)
            .step_by(2)
            .filter(|text| text.contains('_') && text.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
            .collect();
        let (_, block) = resource(&template, &function).unwrap();
        for setting in &wanted {
            let given = block.contains(&format!(" {setting}:")) || globals.contains(&format!(" {setting}:"));
            if LOCAL.contains(setting) {
                assert!(!template.contains(setting), "{setting} is for one machine only");
            } else {
                assert!(given, "template.yaml gives {function} no {setting}");
            }
        }
        let variables = block.split("Variables:").nth(1).unwrap_or_default();
        let given = variables.lines().skip(1).map_while(|line| line.strip_prefix("          ").map(str::trim));
        for line in given.filter(|line| !line.starts_with('#')) {
            let name = line.split(':').next().unwrap();
            if name.contains('_') && name.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
                assert!(
                    wanted.contains(name),
                    "template.yaml gives {function} {name}, which its config.rs does not read"
                );
            }
        }
    }
}

#[test]
fn every_queue_has_its_five_things() {
    let template = read("template.yaml");
    let alarms = read("infra/alarms.md");
    let all = resources(&template);
    for function in folders("functions") {
        let (_, block) = resource(&template, &function).unwrap();
        if !block.contains("Type: SQS") {
            continue;
        }
        assert!(block.contains("ReportBatchItemFailures"), "{function}: partial batch failures");
        assert!(block.contains("MaximumConcurrency"), "{function}: a concurrency bound");
        let number = |text: &str, name: &str| -> u32 {
            let line =
                text.lines().find(|line| line.trim().starts_with(name)).unwrap_or_else(|| panic!("{function}: {name}"));
            line.split(':')
                .nth(1)
                .unwrap()
                .split('#')
                .next()
                .unwrap()
                .trim()
                .parse()
                .unwrap_or_else(|_| panic!("{function}: {line}"))
        };
        let queue = block.split("Queue: !GetAtt ").nth(1).unwrap().split('.').next().unwrap();
        let lines = &all.iter().find(|(id, _)| id == queue).unwrap_or_else(|| panic!("no queue {queue}")).1;
        let window = if block.contains("MaximumBatchingWindowInSeconds") {
            number(&block, "MaximumBatchingWindowInSeconds")
        } else {
            0
        };
        let needed = 6 * number(&block, "Timeout") + window;
        assert!(number(lines, "VisibilityTimeout") >= needed, "{queue}: visibility of at least {needed} s");
        assert!(
            lines.contains("SqsManagedSseEnabled: true") || lines.contains("KmsMasterKeyId"),
            "{queue}: encryption"
        );
        let dead =
            lines.split("deadLetterTargetArn: !GetAtt ").nth(1).unwrap_or_else(|| panic!("{queue}: no dead letters"));
        let dead = dead.split('.').next().unwrap();
        let dead_lines = &all.iter().find(|(id, _)| id == dead).unwrap().1;
        assert_eq!(number(dead_lines, "MessageRetentionPeriod"), 14 * 24 * 3600, "{dead}: 14 days");
        let alarm = all.iter().find(|(_, lines)| {
            lines.contains("AWS::CloudWatch::Alarm") && lines.contains(&format!("{dead}.QueueName"))
        });
        let (_, alarm) = alarm.unwrap_or_else(|| panic!("no alarm on {dead}"));
        let name = alarm.split("AlarmName: !Sub ${AWS::StackName}-").nth(1).unwrap().lines().next().unwrap();
        assert!(alarms.contains(&format!("## {name}")), "infra/alarms.md says nothing of {name}");
    }
}

#[test]
fn every_function_is_released_watched_and_on_the_dashboard() {
    let template = read("template.yaml");
    let all = resources(&template);
    let lines = |id: &str| &all.iter().find(|(other, _)| other == id).unwrap_or_else(|| panic!("no {id}")).1;
    let dashboard = lines("Dashboard");
    let alarms = read("infra/alarms.md");
    for function in folders("functions") {
        let (id, block) = resource(&template, &function).unwrap();
        assert!(block.contains("AutoPublishCodeSha256: !Ref Release"), "{function}: new settings make no new version");
        assert!(block.contains(&format!("!Ref {id}NewVersionAlarm")), "{function}: no alarm takes a new version back");
        assert!(
            lines(&format!("{id}NewVersionAlarm")).contains(&format!("Value: !GetAtt {id}.Version.Version")),
            "{id}NewVersionAlarm does not watch the new version of {function}"
        );
        for (alarm, name) in [("Errors", "errors"), ("Duration", "duration")] {
            assert!(
                lines(&format!("{id}{alarm}Alarm")).contains(&format!("!Ref {id}")),
                "{id}{alarm}Alarm watches another"
            );
            assert!(alarms.contains(&format!("`{function}-{name}`")), "infra/alarms.md lacks `{function}-{name}`");
        }
        assert!(
            lines(&format!("{id}SecretsInLogs")).contains(&format!("LogGroupName: !Ref {id}Logs")),
            "{id}SecretsInLogs does not read the log of {function}"
        );
        for metric in ["Invocations", "Errors", "Duration", "Throttles"] {
            let line = format!(r#"["AWS/Lambda", "{metric}", "FunctionName", "${{{id}}}"]"#);
            assert!(dashboard.contains(&line), "the dashboard lacks {metric} of {function}");
        }
    }
    for (id, lines) in &all {
        let line = match lines.lines().next().unwrap_or_default().trim() {
            "Type: AWS::SQS::Queue" => format!("\"${{{id}.QueueName}}\""),
            "Type: AWS::CloudWatch::Alarm" if lines.contains("AlarmActions") => format!("\"${{{id}.Arn}}\""),
            _ => continue,
        };
        assert!(dashboard.contains(&line), "{id} is not on the dashboard");
    }
    let body = dashboard.split("DashboardBody: !Sub |").nth(1).unwrap();
    let body = body.split("  # ---").next().unwrap();
    serde_json::from_str::<serde_json::Value>(body).expect("the dashboard is JSON");
}

#[test]
fn the_page_on_security_names_tests_that_exist_and_every_secret() {
    fn code(folder: &Path, found: &mut String) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                code(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut tests = String::new();
    for folder in ["functions", "operate", "shared", "tests"] {
        code(&root().join(folder), &mut tests);
    }
    let page = read("docs/SECURITY.md");
    // A name with three underscores or more is a test's; those of columns and tables have fewer.
    let named = page.split('`').skip(1).step_by(2);
    let named = named.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    for name in named.filter(|name| name.matches('_').count() >= 3) {
        assert!(tests.contains(&format!("fn {name}(")), "docs/SECURITY.md names the test {name}, which is not there");
    }
    let template = read("template.yaml");
    for secret in template.split(":SecretString:").skip(1).map(|rest| rest.split(':').next().unwrap()) {
        assert!(page.contains(&format!("\n| `{secret}` |")), "docs/SECURITY.md does not say how {secret} is rotated");
    }
}

#[test]
fn no_alarm_watches_more_than_ten_metrics() {
    // CloudWatch refuses more, and only when it is deployed.
    for (id, lines) in resources(&read("template.yaml")) {
        let metrics = lines.matches("MetricStat:").count();
        assert!(metrics <= 10, "{id} watches {metrics} metrics: begin another alarm");
    }
}

#[test]
fn the_floors_of_the_house_hold() {
    let functions = folders("functions");
    let floor = |package: &str| match package {
        "domain" | "http-client" | "lambda-kit" | "aws-setup" => 1,
        _ if functions.contains(package) => 3,
        _ => 2,
    };
    let ours: BTreeSet<String> = folders("shared").union(&functions).cloned().collect();
    for package in &ours {
        let folder = if functions.contains(package) { "functions" } else { "shared" };
        let manifest = read(format!("{folder}/{package}/Cargo.toml"));
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap();
        for dependency in
            ours.iter().filter(|name| dependencies.lines().any(|line| line.starts_with(&format!("{name}."))))
        {
            assert!(!functions.contains(dependency), "{package} imports the function {dependency}");
            assert!(floor(dependency) <= floor(package), "{package} imports {dependency}, which is a floor above");
        }
    }
    let domain = read("shared/domain/Cargo.toml");
    for outside in ["lambda", "aws", "reqwest", "tokio"] {
        assert!(!domain.contains(outside), "domain knows neither HTTP nor AWS, nor async: {outside}");
    }
}

#[test]
fn no_module_is_a_drawer_for_odds_and_ends() {
    fn look(folder: &Path) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let stem = name.split('.').next().unwrap();
            assert!(
                !["utils", "util", "helpers", "common", "core", "misc"].contains(&stem),
                "{}",
                entry.path().display()
            );
            if entry.path().is_dir() && !["node_modules", "target", ".venv", ".data", ".git"].contains(&name.as_str()) {
                look(&entry.path());
            }
        }
    }
    look(&root());
}
