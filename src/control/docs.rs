//! The documentation for people: a page that renders the document of the API. It stands in the binary and loads nothing
//! from elsewhere.

use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY};
use axum::response::{IntoResponse, Response};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::document::refusals;
use super::place::AtFile;
use super::{Answer, Control, path};
use crate::domain::Reason;

/// What the page may load and do: its own files and nothing else, in no one else's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: Asset = Asset {
    name: "index.html",
    content_type: "text/html; charset=utf-8",
    text: include_str!("../../web/docs/index.html"),
};
/// What the page loads.
const ASSETS: [Asset; 2] = [
    Asset {
        name: "docs.css",
        content_type: "text/css; charset=utf-8",
        text: include_str!("../../web/docs/docs.css"),
    },
    Asset {
        name: "docs.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("../../web/docs/docs.js"),
    },
];

/// A file of the page.
#[derive(Clone, Copy)]
struct Asset {
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
}

impl IntoResponse for Asset {
    fn into_response(self) -> Response {
        let headers: [(HeaderName, &str); 3] = [
            (CONTENT_TYPE, self.content_type),
            (CONTENT_SECURITY_POLICY, POLICY),
            (REFERRER_POLICY, "no-referrer"),
        ];
        (headers, self.text).into_response()
    }
}

impl IntoParams for Asset {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let names = ASSETS.map(|asset| asset.name);
        let schema = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
        let file = ParameterBuilder::new().name("file").parameter_in(ParameterIn::Path).schema(Some(schema));
        vec![file.description(Some("A file that the page loads.")).build()]
    }
}

pub(super) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(page)).routes(routes!(asset))
}

/// The documentation for people
///
/// Renders `/openapi.json`. It stands in the binary and needs nothing from elsewhere.
#[utoipa::path(
    get,
    path = path::DOCS,
    operation_id = "getDocs",
    tag = "Documentation",
    responses((status = 200, description = "A page.", body = String, content_type = "text/html"))
)]
async fn page() -> Asset {
    PAGE
}

refusals!(AssetRefusals: &[Reason::NotFound]);

/// A file of the page
///
/// Its style and its script.
#[utoipa::path(
    get,
    path = path::DOCS_FILE,
    operation_id = "getDocsFile",
    tag = "Documentation",
    params(Asset),
    responses(
        (status = 200, description = "The file.", content((String = "text/css"), (String = "text/javascript"))),
        AssetRefusals,
    )
)]
async fn asset(AtFile(name): AtFile) -> Answer<Asset> {
    let named = ASSETS.into_iter().find(|asset| asset.name == name);
    named.ok_or_else(|| Reason::NotFound.because("the documentation has no such file").into())
}
