//! The world's API over HTTP, as it is at the moment of each request; it fails and dawdles on demand.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
};

use tokio::sync::Notify;
use url::Url;

use super::world::World;
use crate::{
    listener::{Asked, Told, listen, told},
    stack::setting,
};

/// Everything works.
pub const WORKS: u16 = 0;

/// A world and who answers for it.
pub struct Api {
    pub origin: Url,
    pub world: Arc<Mutex<World>>,
    desk: Arc<Desk>,
}

struct Desk {
    world: Arc<Mutex<World>>,
    key: String,
    down: AtomicU16,
    gates: Mutex<Vec<Arc<Gate>>>,
}

/// Holds one request up.
pub struct Gate {
    /// What the request mentions.
    about: String,
    /// Whether it is answered as things are when it leaves, not as they were when it came.
    looks_late: bool,
    came: Notify,
    open: Notify,
}

impl Gate {
    /// Waits until the request came.
    pub async fn came(&self) {
        let patience = std::time::Duration::from_secs(20);
        tokio::time::timeout(patience, self.came.notified()).await.expect("the request never came");
    }

    /// Lets it go.
    pub fn open(&self) {
        self.open.notify_one();
    }
}

impl Api {
    pub async fn of(world: World) -> Self {
        let world = Arc::new(Mutex::new(world));
        let key = format!("Bearer {}", setting("STRIPE_SECRET_KEY"));
        let desk = Desk { world: world.clone(), key, down: AtomicU16::new(WORKS), gates: Mutex::default() };
        let desk = Arc::new(desk);
        let serving = desk.clone();
        let origin = listen(move |request| serving.clone().serve(request)).await;
        Self { origin, world, desk }
    }

    /// From now on every request is answered with this status; 200 is an answer that is none.
    pub fn fail(&self, status: u16) {
        self.desk.down.store(status, Ordering::SeqCst);
    }

    /// Holds up the next request that mentions `about`.
    pub fn hold(&self, about: &str, looks_late: bool) -> Arc<Gate> {
        let (came, open) = (Notify::new(), Notify::new());
        let gate = Arc::new(Gate { about: about.to_owned(), looks_late, came, open });
        self.desk.gates.lock().unwrap().push(gate.clone());
        gate
    }
}

impl Desk {
    async fn serve(self: Arc<Self>, request: Asked) -> Told {
        let right = |header: &str, value: &str| request.headers().get(header).is_some_and(|given| given == value);
        if !right("authorization", &self.key) || !right("stripe-version", "2026-07-29.dahlia") {
            return told(401, "{}");
        }
        let gate = {
            let (mut gates, asked) = (self.gates.lock().unwrap(), request.uri().to_string());
            gates.iter().position(|gate| asked.contains(&gate.about)).map(|at| gates.remove(at))
        };
        let Some(gate) = gate else { return self.answer(&request) };
        let early = self.answer(&request);
        gate.came.notify_one();
        gate.open.notified().await;
        if gate.looks_late { self.answer(&request) } else { early }
    }

    fn answer(&self, request: &Asked) -> Told {
        match self.down.load(Ordering::SeqCst) {
            WORKS => {}
            status => return told(status, r#"{ "error": { "type": "api_error" } }"#),
        }
        let query = url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
        let query: BTreeMap<String, String> = query.into_owned().collect();
        match self.world.lock().unwrap().answer(request.uri().path(), &query) {
            Some(object) => told(200, object.to_string()),
            None => told(
                404,
                r#"{ "error": { "type": "invalid_request_error", "code": "resource_missing", "param": "id" } }"#,
            ),
        }
    }
}
