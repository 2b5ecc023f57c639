//! x
use napi_derive::napi;
/// a
#[napi(catch_unwind)]
pub fn f(x: &[f32]) -> f64 { x.len() as f64 }
#[test]
fn t() { assert_eq!(1,1); }
