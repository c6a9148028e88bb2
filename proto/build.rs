//! Compiles the wire contract with `protox`, so that no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=skerry.proto");
    if std::env::var_os("CARGO_FEATURE_RPC").is_some() {
        let descriptors = protox::compile(["skerry.proto"], ["."])?;
        tonic_prost_build::configure().compile_fds(descriptors)?;
    }
    Ok(())
}
