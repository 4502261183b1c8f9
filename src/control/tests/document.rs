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
        // The ops listener and the operators' socket have routers of their own, which are no part of the API.
        let is_apart = file.ends_with("ops.rs") || file.ends_with("admin.rs");
        if is_apart || file.components().any(|part| part.as_os_str() == "tests") {
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

/// Only what a page names as its own is loaded, so that it works offline and under its policy.
#[tokio::test]
async fn the_page_for_people_loads_only_its_own_files() {
    let gateway = gateway().await;
    for (path, kind) in
        [("/docs", "text/html"), ("/docs/docs.css", "text/css"), ("/docs/docs.js", "text/javascript")]
    {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let response = gateway.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert!(header("content-type").starts_with(kind), "{path}");
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        for foreign in ["http://", "https://", " style=", "<script>", " onclick", "innerHTML"] {
            assert!(!text.contains(foreign), "{path} holds {foreign}");
        }
    }
    gateway.call("GET", "/docs/other.js", None, Value::Null).await.refused(404, "not_found");
}

/// Who reads compressed answers of a secure connection can guess at the tokens in them.
#[tokio::test]
async fn an_answer_with_a_token_is_not_compressed() {
    let gateway = gateway().await;
    let request = Request::builder()
        .method("POST")
        .uri("/v1/user-tokens")
        .header("authorization", format!("Bearer {APP_KEY}"))
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .body(Body::from(r#"{"user":"anna"}"#))
        .unwrap();
    let answered = gateway.send(request).await;
    assert!(!answered.headers.contains_key("content-encoding"));
    assert!(text(&answered.ok(200), "/token").starts_with("ey"));
}

/// Whoever shows no good credential learns nothing about the rest of the request, on the feed too.
#[tokio::test]
async fn the_feed_asks_for_the_credential_before_anything_else() {
    let gateway = gateway().await;
    let conference = gateway.conference(json!({})).await;
    for path in [
        "/v1/conferences/%00/events",
        "/v1/conferences/TS_a/events?limit=x",
        &format!("{conference}/events?after=x"),
    ] {
        gateway.call("GET", path, None, Value::Null).await.refused(401, "unauthenticated");
        gateway.call("GET", path, Some("no.key"), Value::Null).await.refused(401, "unauthenticated");
        let upgrade =
            Request::builder().uri(path).header("upgrade", "websocket").body(Body::empty()).unwrap();
        gateway.send(upgrade).await.refused(401, "unauthenticated");
    }
    gateway.get("/v1/conferences/%00/events", APP_KEY).await.refused(404, "conference_not_found");
    gateway.get(&format!("{conference}/events?after=x"), APP_KEY).await.refused(422, "invalid_request");
}
