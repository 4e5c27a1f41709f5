//! What the program says when it panics. A panic cannot be asked for from outside, so this program runs itself once more, with the same hook.

use std::io::Write as _;
use std::process::Command;

use egressd::telemetry::PanicNotice;

const PLANTED: &str = "planted-secret-0123456789";
const CHILD: &str = "EGRESSD_TESTS_PANIC";

#[test]
fn a_panic_is_told_by_its_place_alone() {
    // F-202
    if std::env::var_os(CHILD).is_some() {
        std::panic::set_hook(Box::new(|panic| {
            let _unheard = writeln!(std::io::stderr(), "{}", PanicNotice::of(panic));
        }));
        panic!("with {PLANTED} in it");
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "panics::a_panic_is_told_by_its_place_alone",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = [child.stdout, child.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(!child.status.success(), "{said}");
    assert!(said.contains("a bug: ") && said.contains(file!()), "{said}");
    assert!(!said.contains(PLANTED), "{said}");
}
