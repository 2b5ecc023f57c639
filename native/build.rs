//! Lets the linker leave the symbols of Node-API open: Node provides them when it loads the library.

fn main() {
    napi_build::setup();
}
