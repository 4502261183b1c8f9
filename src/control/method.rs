//! What a request means, where its client cannot say so.

use axum::extract::Request;
use axum::http::{HeaderName, Method};

/// Names the method that is meant, on a POST.
pub(super) const OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

/// Makes a PATCH of a POST that says it is one: `wx.request` of a mini program cannot send PATCH. No other method is
/// taken from the header, since every client can send those.
pub(super) fn as_meant(request: &mut Request) {
    let is_patch = request.headers().get(OVERRIDE).is_some_and(|meant| meant == Method::PATCH.as_str());
    if is_patch && request.method() == Method::POST {
        *request.method_mut() = Method::PATCH;
    }
}
