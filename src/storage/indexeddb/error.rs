//! What a browser calls a failure, mapped once, by DOMException **name**, to a [`Code`].
//!
//! Not here: retrying (`connection`), deciding what to do about it (`engine`).

use crate::core::error::{Code, Error};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::DomException;

/// Texts change between browsers and versions; names are in the specification.
pub(super) fn code_of(name: &str) -> Code {
    match name {
        "QuotaExceededError" => Code::StorageFull,
        "VersionError" => Code::FormatTooNew,
        // A store that is not there.
        "NotFoundError" => Code::StorageLost,
        _ => Code::StorageUnavailable,
    }
}

/// The connection was closed underneath: nothing ran, opening again may help.
pub(super) fn connection_is_gone(thrown: &JsValue) -> bool {
    thrown.dyn_ref::<DomException>().is_some_and(|exception| matches!(exception.name().as_str(), "InvalidStateError" | "UnknownError"))
}

/// The browser failed for a reason of its own.
pub(super) fn may_pass(exception: &DomException) -> bool {
    exception.name() == "UnknownError"
}

/// A value that the browser holds and cannot give back: the file it kept it in vanished. What else has one of these names
/// hits every value (`rows::one_by_one`).
pub(super) fn is_lost_value(exception: &DomException) -> bool {
    matches!(exception.name().as_str(), "NotFoundError" | "NotReadableError" | "DataError" | "UnknownError")
}

/// The error for something the browser threw.
pub(super) fn thrown(value: &JsValue) -> Error {
    match value.dyn_ref::<DomException>() {
        Some(exception) => failed(exception),
        None => Error::new(Code::StorageUnavailable, "IndexedDB threw something that is no DOMException"),
    }
}

/// The error for `request.error` or `transaction.error`.
pub(super) fn failed(exception: &DomException) -> Error {
    let name = exception.name();
    Error::new(code_of(&name), format!("IndexedDB: {name}: {}", exception.message()))
}

/// A transaction that the browser aborted without naming a reason: its connection died.
pub(super) fn aborted() -> Error {
    Error::new(Code::StorageUnavailable, "IndexedDB: the transaction was aborted without a reason")
}
