//! The text of a query: guarded, parsed, checked, on the stack that the program gives it.

#![no_main]

use std::sync::Once;

use libfuzzer_sys::fuzz_target;
use parkgate_gateway::promql;

static HOOK: Once = Once::new();

fn read(text: &str) {
    if promql::parse(text).is_ok() {
        let _ = promql::parse_selector(text);
    }
}

fuzz_target!(|text: &str| {
    // The parser of others panics on some texts, which is caught: the fuzzer's own hook would end the program there. A panic
    // that is not caught still ends it.
    HOOK.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(promql::STACK_BYTES);
        thread.spawn_scoped(scope, || read(text)).expect("a thread").join().expect("no panic");
    });
});
