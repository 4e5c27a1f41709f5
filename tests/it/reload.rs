//! A new generation under a running sidecar: what changed changes, what did not stays as it is, what is wrong changes nothing.

use crate::support::{Agent, Sidecar, Upstream, connection};

#[test]
fn a_reload_changes_what_changed_and_keeps_the_rest() {
    let up = Upstream::echo();
    let crm = connection("crm").allow("GET /a").upstream(&up);
    let billing = connection("billing").allow("GET /a").upstream(&up);
    let sidecar = Sidecar::with(crm.clone()).and(billing.clone()).start();
    let mut agent = Agent::connect(&sidecar);
    agent.get("/crm/a").expect(200);
    agent.get("/billing/a").expect(200);
    agent.get("/crm/b").expect(403);
    let sockets = up.sockets();

    let wider = crm.clone().allow("GET /b");
    let reloaded = sidecar.reload(&[wider, billing.clone()]).unwrap();
    assert_eq!((reloaded.generation, reloaded.connections), (2, 2));
    agent.get("/crm/b").expect(200);
    // A connection that did not change keeps its sockets.
    agent.get("/billing/a").expect(200);
    assert!(up.sockets() <= sockets + 1);

    let broken = crm.clone().base_url("http://plain.example");
    let problems = sidecar.reload(&[broken, billing.clone()]).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    agent.get("/crm/b").expect(200);

    let reloaded = sidecar.reload(&[billing]).unwrap();
    assert_eq!((reloaded.generation, reloaded.connections), (3, 1));
    agent.get("/crm/a").expect(404);
    sidecar.reload(&[crm]).unwrap();
    agent.get("/crm/a").expect(200);
    agent.get("/billing/a").expect(404);
}
