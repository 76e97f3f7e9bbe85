//! What docs/API.md and docs/openapi.yaml promise, held against the routes of template.yaml and Cargo.toml and against the code of
//! the functions: every route is in both, every error that a function can answer is in both, and nothing else is. That the
//! answers are really so is tried by schemathesis (tests/api/).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use lambda_http::http::StatusCode;
use serde_json::{Value, json};

use crate::{
    stack::{User, callback_token, claims, hs256, setting, user_token},
    structure::{folders, read, resource, root},
};

/// A status and a code.
type Errors = BTreeSet<(u16, String)>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Route {
    method: String,
    path: String,
    function: String,
}

impl Route {
    fn new(method: &str, path: &str, function: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), function: function.to_owned() }
    }

    /// Function URLs take every method; theirs is the one that is sent. The path is that of `make dev`.
    fn function_url(function: &str) -> Self {
        Self::new("POST", &format!("/lambda-url/{function}/"), function)
    }
}

/// The routes of template.yaml, function URLs included.
fn routes() -> BTreeSet<Route> {
    let template = read("template.yaml");
    let mut routes = BTreeSet::new();
    for function in folders("functions") {
        let (_, block) = resource(&template, &function).unwrap();
        if block.contains("FunctionUrlConfig") {
            routes.insert(Route::function_url(&function));
        }
        for event in block.split("Type: HttpApi").skip(1) {
            let value = |name: &str| {
                let line = event.lines().find_map(|line| line.trim().strip_prefix(name));
                line.unwrap_or_else(|| panic!("{function}: an HttpApi event without {name}")).trim()
            };
            routes.insert(Route::new(value("Method:"), value("Path:"), &function));
        }
    }
    assert!(routes.len() > 20, "{routes:?}");
    routes
}

/// The routes that API.md begins with.
fn routes_of_the_page(page: &str) -> BTreeSet<Route> {
    let mut routes = BTreeSet::new();
    for line in page.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| `")) {
        let mut cells = line.split(" | ");
        let (request, function) = (cells.next().unwrap(), cells.next().unwrap());
        let words = request.split('`').skip(1).step_by(2).flat_map(str::split_whitespace);
        let (paths, methods): (Vec<_>, Vec<_>) = words.partition(|word| word.starts_with('/'));
        for method in methods {
            match paths.first() {
                Some(path) => routes.insert(Route::new(method, path, function)),
                None => routes.insert(Route::function_url(function)),
            };
        }
    }
    routes
}

fn openapi() -> Value {
    serde_saphyr::from_str(&read("docs/openapi.yaml")).unwrap()
}

/// The operations of openapi.yaml by method and path.
fn operations(document: &Value) -> BTreeMap<(String, String), &Value> {
    let mut operations = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(_, value)| value.is_object()) {
            operations.insert((method.to_uppercase(), path.clone()), operation);
        }
    }
    operations
}

#[test]
fn every_route_is_in_the_documents_and_in_cargo_and_no_other_is() {
    let routes = routes();
    let page = read("docs/API.md");
    assert_eq!(
        routes_of_the_page(&page),
        routes,
        "the table that docs/API.md begins with (left), template.yaml (right)"
    );

    let named = |routes: &BTreeSet<Route>| -> BTreeSet<(String, String)> {
        routes.iter().map(|route| (route.method.clone(), route.path.clone())).collect()
    };
    let document = openapi();
    let documented: BTreeSet<_> = operations(&document).into_keys().collect();
    assert_eq!(documented, named(&routes), "docs/openapi.yaml (left), template.yaml (right)");

    let (_, router) = read("Cargo.toml").split_once("[workspace.metadata.lambda.watch.router]\n").map(owned).unwrap();
    let mut watched: BTreeSet<Route> =
        routes.iter().filter(|route| route.path.starts_with("/lambda-url/")).cloned().collect();
    let mut path = String::new();
    for line in router.lines() {
        if let Some((quoted, _)) = line.split_once(" = [") {
            path = quoted.trim_matches('"').to_owned();
        }
        if let Some((_, target)) = line.split_once("{ method = \"") {
            let mut parts = target.split('"');
            watched.insert(Route::new(parts.next().unwrap(), &path, parts.nth(1).unwrap()));
        }
    }
    assert_eq!(watched, routes, "the router in Cargo.toml (left), template.yaml (right)");
}

fn owned((a, b): (&str, &str)) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

// --- Errors ---

/// What every function may answer that makes JSON: a fault of ours.
fn internal() -> (u16, String) {
    (500, "internal".to_owned())
}

/// What the code says and never happens.
fn never(function: &str) -> Errors {
    match function {
        // Who asks for the first time names no job: these are for a retry.
        "create-generation-job" => [(404, "no_such_job".to_owned()), (409, "not_failed".to_owned())].into(),
        _ => Errors::new(),
    }
}

/// All code of a crate but its tests.
fn code(krate: &str) -> String {
    let folder = root().join(krate).join("src");
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = files.map(|file| fs::read_to_string(file).unwrap().split("#[cfg(test)]").next().unwrap().to_owned());
    texts.collect()
}

/// The errors that a piece of code makes.
fn made(code: &str, place: &str) -> Errors {
    let literal = |arguments: &str| -> String {
        let (_, rest) = arguments.split_once('"').unwrap_or_default();
        let code = rest.split('"').next().unwrap();
        let stable = !code.is_empty() && code.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(stable, "{place}: write the code of an ApiError as a literal where it is made: {arguments}");
        code.to_owned()
    };
    let calls = code.split("ApiError::").skip(1).filter_map(|rest| rest.split_once('('));
    let calls = calls.filter(|(name, _)| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
    calls
        .map(|(name, arguments)| {
            let arguments: String = arguments.chars().take(200).collect();
            match name {
                "new" => {
                    let (status, rest) = arguments.trim_start().split_once(',').unwrap();
                    let names = |status: &StatusCode| {
                        status.canonical_reason().map(|name| name.to_uppercase().replace(' ', "_"))
                    };
                    let mut all = (400..600).filter_map(|number| StatusCode::from_u16(number).ok());
                    let status = all.find(|known| names(known).as_deref() == status.strip_prefix("StatusCode::"));
                    let status = status.unwrap_or_else(|| panic!("{place}: {arguments}"));
                    let second = rest.trim_start();
                    assert!(
                        second.starts_with('"'),
                        "{place}: write the code of an ApiError as a literal where it is made: {arguments}"
                    );
                    (status.as_u16(), literal(second))
                }
                "unavailable" => (503, literal(&arguments)),
                "malformed_json" => (400, name.to_owned()),
                "unauthenticated" | "account_gone" => (401, "unauthenticated".to_owned()),
                "invalid_fields" => (422, name.to_owned()),
                other => panic!("{place}: this test does not know ApiError::{other}"),
            }
        })
        .collect()
}

/// The errors that a function of a shared crate makes, with those of the functions that it calls there.
fn made_by(krate: &str, function: &str) -> Errors {
    let code = code(krate);
    let mut functions = BTreeMap::new();
    for piece in code
        .split("\nfn ")
        .flat_map(|piece| piece.split("\npub fn "))
        .flat_map(|piece| piece.split("\npub async fn "))
        .skip(1)
    {
        let name = piece.split(['(', '<']).next().unwrap();
        functions.insert(name, piece);
    }
    fn follow<'a>(
        functions: &BTreeMap<&'a str, &'a str>,
        name: &'a str,
        place: &str,
        seen: &mut BTreeSet<&'a str>,
    ) -> Errors {
        let body = functions.get(name).unwrap_or_else(|| panic!("{place} has no fn {name}"));
        let mut errors = made(body, &format!("{place}, {name}"));
        seen.insert(name);
        for other in functions.keys() {
            let called = body.contains(&format!("{other}(")) || body.contains(&format!("({other})"));
            if called && !seen.contains(other) {
                errors.extend(follow(functions, other, place, seen));
            }
        }
        errors
    }
    follow(&functions, function, krate, &mut BTreeSet::new())
}

/// The errors that a function can answer, by its code.
fn errors_of_code(function: &str) -> Errors {
    let code = code(&format!("functions/{function}"));
    let mut errors = made(&code, function);
    errors.insert(internal());
    if code.contains(".authenticate(") || code.contains(".authenticate_if_any(") {
        errors.extend(made(&self::code("shared/auth"), "shared/auth"));
    }
    for (krate, prefix) in [("shared/job-desk", "job_desk::"), ("shared/image-desk", "image_desk::")] {
        for rest in code.split(prefix).skip(1) {
            let name = rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap();
            errors.extend(made_by(krate, name));
        }
    }
    errors.difference(&never(function)).cloned().collect()
}

/// The errors that an operation of openapi.yaml lists: for each status the `enum` of `code`.
fn errors_of_operation(document: &Value, operation: &Value) -> Errors {
    let mut errors = Errors::new();
    for (status, response) in operation["responses"].as_object().unwrap() {
        let response = match response["$ref"].as_str() {
            Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
            None => response,
        };
        let problem = &response["content"]["application/problem+json"];
        if problem.is_null() {
            continue;
        }
        let place = format!("docs/openapi.yaml, {} {status}", operation["operationId"]);
        let codes = problem["schema"]["allOf"].as_array().unwrap_or_else(|| panic!("{place}: no allOf")).iter();
        let codes: Vec<&str> = codes
            .filter_map(|part| part["properties"]["code"]["enum"].as_array())
            .flatten()
            .map(|code| code.as_str().unwrap())
            .collect();
        assert!(!codes.is_empty(), "{place}: say which `code` it may have");
        for example in problem["examples"].as_object().into_iter().flat_map(|examples| examples.values()) {
            let example = match example["$ref"].as_str() {
                Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
                None => example,
            };
            let (code, number) = (example["value"]["code"].as_str().unwrap(), &example["value"]["status"]);
            assert!(codes.contains(&code), "{place}: the example {code} is none of {codes:?}");
            assert_eq!(number.to_string(), *status, "{place}: the status of the example {code}");
        }
        errors.extend(codes.iter().map(|code| (status.parse().unwrap(), (*code).to_owned())));
    }
    errors
}

/// The functions that a section of API.md is about.
fn functions_of_section(heading: &str, routes: &BTreeSet<Route>) -> BTreeSet<String> {
    let url = match heading {
        "The callback" => "n8n-callback",
        "The webhook" => "stripe-webhook",
        "Replicate's webhook" => "replicate-webhook",
        _ => "",
    };
    let named = |route: &&Route| heading.split(", ").any(|one| one == format!("{} {}", route.method, route.path));
    let found = routes.iter().filter(|route| route.function == url || named(route));
    found.map(|route| route.function.clone()).collect()
}

/// The errors in the tables of a section of API.md: `| 409 | `superseded` | … |`.
fn errors_of_section(section: &str) -> Errors {
    let mut errors = Errors::new();
    for line in section.lines() {
        let mut cells = line.split('|').skip(1);
        if let (Some(Ok(status)), Some(codes)) = (cells.next().map(|cell| cell.trim().parse()), cells.next()) {
            errors.extend(codes.split('`').skip(1).step_by(2).map(|code| (status, code.to_owned())));
        }
    }
    errors
}

#[test]
fn every_error_that_a_function_can_answer_is_in_the_documents_and_no_other_is() {
    let (routes, page, document) = (routes(), read("docs/API.md"), openapi());
    let operations = operations(&document);
    let mut told = BTreeSet::new();
    for section in page.split("\n## ").skip(1) {
        let heading = section.lines().next().unwrap();
        let functions = functions_of_section(heading, &routes);
        if functions.is_empty() {
            continue;
        }
        let of_code: Errors = functions.iter().flat_map(|function| errors_of_code(function)).collect();
        let about = routes.iter().filter(|route| functions.contains(&route.function));
        let mut of_operations = Errors::new();
        for route in about {
            let errors = errors_of_operation(&document, operations[&(route.method.clone(), route.path.clone())]);
            assert!(errors.contains(&internal()), "docs/openapi.yaml, {} {}: 500 internal", route.method, route.path);
            of_operations.extend(errors);
        }
        assert_eq!(of_operations, of_code, "{heading}: docs/openapi.yaml (left), the code (right)");
        // A fault of ours may happen anywhere; the page says so once.
        let mut of_page = errors_of_section(section);
        of_page.insert(internal());
        assert_eq!(of_page, of_code, "{heading}: docs/API.md (left), the code (right)");
        told.extend(functions);
    }
    let all: BTreeSet<String> = routes.into_iter().map(|route| route.function).collect();
    assert_eq!(told, all, "the functions with a section in docs/API.md (left), all behind HTTP (right)");
}

// --- Who is let in ---

#[tokio::test]
async fn no_route_but_the_grid_lets_in_who_brings_no_token_or_a_bad_one() {
    let user = User::new().await;
    let mut expired = claims(user.id, &user.email);
    expired["exp"] = json!(expired["iat"].as_i64().unwrap() - 3600);
    let forged = hs256(&claims(user.id, &user.email), "another project's secret");
    let (expired, theirs) = (user_token(&expired), callback_token(user.id, 1));
    let (http, api) = (http_client::client(Duration::from_secs(30)).unwrap(), setting("FUNCTIONS_URL"));
    for Route { method, path, function } in routes() {
        let url = format!("{api}{}", path.replace("{id}", &user.id.to_string()));
        // Each kind of token is good for what it was made for only.
        let of_another_kind = if function == "n8n-callback" { &user.token } else { &theirs };
        for (kind, token) in [
            ("none", None),
            ("garbage", Some("eyJh.bGci.OiJI")),
            ("an expired one", Some(&expired)),
            ("one by another's key", Some(&forged)),
            ("one of another kind", Some(of_another_kind)),
        ] {
            if (path.as_str(), kind) == ("/images", "none") {
                continue;
            }
            let mut request = http.request(method.parse().unwrap(), &url).body("{}");
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let answer = request.send().await.unwrap();
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            let header =
                |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
            let problem: Value = answer.json().await.unwrap_or_default();
            let seen = (status, header("content-type"), header("www-authenticate"), &problem["code"]);
            let expected = (401, "application/problem+json".into(), "Bearer".into(), &json!("unauthenticated"));
            assert_eq!(seen, expected, "{method} {path} with {kind}");
        }
    }
}
