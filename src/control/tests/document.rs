//! The document tells of every route, and every route is in the document.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::control::document::document;
use crate::control::path;

/// Where the document stands for readers of the repository.
const GOLDEN: &str = "docs/openapi.json";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Each operation with its method and path.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().unwrap();
        item.iter().map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation.clone()))
    });
    operations.collect()
}

#[test]
fn the_golden_document_is_what_the_code_says() {
    let now = document().to_pretty_json().unwrap() + "\n";
    let file = root().join(GOLDEN);
    if std::env::var_os("TIDEGATE_RENEW").is_some() {
        std::fs::write(&file, &now).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == now,
        "{GOLDEN} is not what the code says now; look at the difference after: TIDEGATE_RENEW=1 cargo nextest run --lib golden"
    );
}

#[test]
fn the_document_and_the_path_table_agree() {
    let document = serde_json::to_value(document()).unwrap();
    let told: BTreeSet<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let table: BTreeSet<_> = path::ALL.iter().copied().collect();
    assert_eq!(told, table);
}

/// Axum's own `route` would serve what the document does not tell.
#[test]
fn every_route_is_registered_with_its_documentation() {
    let mut files = vec![root().join("src/control")];
    while let Some(file) = files.pop() {
        if file.is_dir() {
            files.extend(std::fs::read_dir(&file).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        // The ops listener has a router of its own.
        if file.ends_with("ops.rs") || file.components().any(|part| part.as_os_str() == "tests") {
            continue;
        }
        let code = std::fs::read_to_string(&file).unwrap();
        let code = code.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
        for bypass in [".route(", ".route_service(", ".nest_service("] {
            assert!(!code.contains(bypass), "{} registers by {bypass}…); use routes!", file.display());
        }
    }
}

#[test]
fn every_operation_says_what_it_is() {
    let document = serde_json::to_value(document()).unwrap();
    let tags: BTreeSet<_> =
        document["tags"].as_array().unwrap().iter().map(|tag| text(tag, "/name")).collect();
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let name = format!("{method} {path}");
        assert!(!text(&operation, "/summary").is_empty(), "{name}: a summary");
        assert!(!text(&operation, "/description").is_empty(), "{name}: a description");
        assert!(tags.contains(&text(&operation, "/tags/0")), "{name}: a tag that the document introduces");
        assert!(ids.insert(text(&operation, "/operationId")), "{name}: an operation id of its own");
        let statuses: BTreeSet<_> = operation["responses"].as_object().unwrap().keys().collect();
        if path.starts_with("/v1/") {
            for status in ["401", "500", "503"] {
                assert!(statuses.iter().any(|told| *told == status), "{name} tells of {status}");
            }
            assert!(operation["security"].is_array(), "{name} says which credentials it takes");
        }
        let named: BTreeSet<_> = path.split(['{', '}']).skip(1).step_by(2).collect();
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let told = parameters.filter(|parameter| parameter["in"] == "path");
        let told: BTreeSet<_> = told.map(|parameter| parameter["name"].as_str().unwrap()).collect();
        assert_eq!(named, told, "{name}: the parameters of the path");
    }
}

/// Every `$ref` leads somewhere.
#[test]
fn every_reference_resolves() {
    fn walk<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|value| walk(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let document = serde_json::to_value(document()).unwrap();
    let mut found = Vec::new();
    walk(&document, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

#[tokio::test]
async fn the_document_is_served_to_anyone() {
    let gateway = gateway().await;
    let answered = gateway.call("GET", "/openapi.json", None, Value::Null).await;
    assert_eq!(answered.headers["content-type"], "application/json");
    let told = answered.ok(200);
    assert_eq!(told["openapi"], "3.1.0");
    assert_eq!(told, serde_json::to_value(document()).unwrap());
}
