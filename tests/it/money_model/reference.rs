//! What should come of the events that were heard: sets and sums.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use uuid::Uuid;

use super::world::{About, Event, Naming, Object, Purchase, World};

const FREE_CREDITS: i64 = 4;
const GRACE: i64 = 7 * 86_400;

/// A user's own side.
#[derive(Default)]
struct Account {
    /// By spends that were not refunded.
    spent: i64,
    /// Free credits that her first plan's replaced.
    replaced: Option<i64>,
}

/// A subscription as it was last heard of.
#[derive(Clone, Debug, PartialEq)]
struct Standing {
    user: Uuid,
    customer: String,
    plan: bool,
    status: &'static str,
    start: i64,
    end: i64,
    cancel_at: Option<i64>,
    ended: bool,
}

impl Standing {
    fn is_live(&self, now: i64) -> bool {
        let running = match self.status {
            "active" | "trialing" => self.end + GRACE > now,
            // Since it was heard of, which is less than the grace ago.
            "past_due" => true,
            _ => false,
        };
        self.plan && running && self.cancel_at.is_none_or(|at| at > now)
    }
}

/// What somebody who heard all that was delivered so far should believe.
#[derive(Default)]
pub struct Reference {
    accounts: BTreeMap<Uuid, Account>,
    customers: BTreeMap<String, Uuid>,
    purchases: BTreeMap<String, (Uuid, Purchase)>,
    /// By charge or dispute: how much of which purchase is gone.
    reversals: BTreeMap<String, (String, i64)>,
    subscriptions: BTreeMap<String, Standing>,
    /// Events that took effect.
    done: BTreeSet<String>,
    /// Events that are kept and did not.
    waiting: BTreeSet<String>,
}

impl Reference {
    pub fn of(world: &World) -> Self {
        let mut new = Self::default();
        for customer in &world.customers {
            new.accounts.entry(customer.user).or_default();
            if customer.naming == Naming::AnyHow {
                new.map(&customer.id, customer.user);
            }
        }
        new
    }

    /// Somebody says whose customer this is; the first word counts.
    pub fn map(&mut self, customer: &str, user: Uuid) {
        if !self.customers.values().any(|known| *known == user) {
            self.customers.insert(customer.to_owned(), user);
        }
    }

    fn user_of(&mut self, customer: &str, named: Option<Uuid>) -> Option<Uuid> {
        match (self.customers.get(customer), named) {
            (Some(known), Some(named)) if *known != named => None,
            (Some(known), _) => Some(*known),
            (None, Some(named)) => {
                self.map(customer, named);
                Some(named)
            }
            (None, None) => None,
        }
    }

    /// Whether what comes of the event is the same whatever is heard before it.
    pub fn is_settled(&self, event: &Event, world: &World) -> bool {
        let (customer, named) = match &event.about {
            About::Paid(purchase) => (&purchase.customer, purchase.named),
            About::Changed(Object::Subscription(id)) => {
                let subscription = &world.subscriptions[id];
                (&subscription.customer, subscription.named)
            }
            _ => return true,
        };
        self.customers.contains_key(customer) || named.is_some()
    }

    pub fn took_effect(&self, event: &Event) -> bool {
        self.done.contains(&event.id)
    }

    pub fn waits(&self, event: &Event) -> bool {
        self.waiting.contains(&event.id)
    }

    /// The users who paid for a plan already.
    pub fn had_plan(&self, user: Uuid) -> bool {
        self.accounts[&user].replaced.is_some()
    }

    /// An event was taken.
    pub fn hear(&mut self, event: &Event, world: &World) {
        if matches!(event.about, About::Nothing) || self.done.contains(&event.id) {
            return;
        }
        let took_effect = match &event.about {
            About::Nothing | About::Kept => true,
            About::Paid(purchase) => self.count(purchase),
            About::Changed(object) => self.see(object, world),
        };
        if took_effect {
            self.hear_too_late(event);
        } else {
            self.waiting.insert(event.id.clone());
        }
    }

    /// An event was taken, and something later was known already.
    pub fn hear_too_late(&mut self, event: &Event) {
        self.waiting.remove(&event.id);
        self.done.insert(event.id.clone());
    }

    /// An event was begun, and Stripe could not be asked.
    pub fn begin(&mut self, event: &Event) {
        if matches!(event.about, About::Changed(_)) && !self.done.contains(&event.id) {
            self.waiting.insert(event.id.clone());
        }
    }

    /// False when nobody knows whose it is, or when it is ours and nobody knows what it is.
    fn count(&mut self, purchase: &Purchase) -> bool {
        if purchase.credits == 0 {
            return purchase.named.is_none();
        }
        if self.purchases.contains_key(&purchase.key) {
            return true;
        }
        let Some(user) = self.user_of(&purchase.customer, purchase.named) else { return false };
        let account = self.accounts.get_mut(&user).unwrap();
        if purchase.plan && account.replaced.is_none() {
            account.replaced = Some((FREE_CREDITS - account.spent).max(0));
        }
        self.purchases.insert(purchase.key.clone(), (user, purchase.clone()));
        true
    }

    fn see(&mut self, object: &Object, world: &World) -> bool {
        let Object::Subscription(id) = object else {
            self.reversals.insert(object.id().to_owned(), world.reversal(object).unwrap());
            return true;
        };
        let now = &world.subscriptions[id];
        if now.gone {
            if let Some(standing) = self.subscriptions.get_mut(id) {
                (standing.status, standing.ended) = ("canceled", true);
            }
            return true;
        }
        let Some(user) = self.user_of(&now.customer, now.named) else { return now.plan().is_none() };
        let item = now.plan().unwrap_or(&now.items[0]);
        let last_end = now.items.iter().map(|item| item.end).max();
        let standing = Standing {
            user,
            customer: now.customer.clone(),
            plan: now.plan().is_some(),
            status: now.status,
            start: item.start,
            end: item.end,
            cancel_at: now.cancel_at.or(last_end.filter(|_| now.at_period_end)),
            ended: now.ended_at.is_some(),
        };
        self.subscriptions.insert(id.clone(), standing);
        true
    }

    /// Somebody spent these, or got them back.
    pub fn spend(&mut self, user: Uuid, amount: i64) {
        self.accounts.get_mut(&user).unwrap().spent += amount;
    }

    /// How many of a purchase's credits are due back.
    fn due(&self, purchase: &Purchase) -> i64 {
        let of_it = self.reversals.values().filter(|(key, _)| *key == purchase.key);
        let gone = of_it.map(|(_, amount)| amount).sum::<i64>().min(purchase.paid);
        if gone == 0 { 0 } else { purchase.credits * gone / purchase.paid }
    }

    pub fn balance(&self, user: Uuid) -> i64 {
        let hers = self.purchases.values().filter(|(buyer, _)| *buyer == user);
        let bought: i64 = hers.map(|(_, purchase)| purchase.credits - self.due(purchase)).sum();
        let Account { spent, replaced } = &self.accounts[&user];
        FREE_CREDITS + bought - spent - replaced.unwrap_or(0)
    }

    /// All of it, in the words of the database ([`super::PICTURE`]).
    pub fn picture(&self, now: i64) -> Value {
        let account = |user: &Uuid| {
            let pro = self.subscriptions.values().any(|one| one.user == *user && one.is_live(now));
            json!({ "balance": self.balance(*user), "adds_up": true, "plan": if pro { "pro" } else { "free" } })
        };
        let purchase = |(user, it): &(Uuid, Purchase)| json!([user, it.credits, it.paid, self.due(it)]);
        let subscription = |it: &Standing| {
            json!({
                "user": it.user, "customer": it.customer, "plan": if it.plan { Some("pro") } else { None },
                "status": it.status, "start": it.start, "end": it.end, "cancel_at": it.cancel_at, "ended": it.ended,
                "overdue": it.status == "past_due",
            })
        };
        json!({
            "accounts": self.accounts.keys().map(|user| (user.to_string(), account(user))).collect::<BTreeMap<_, _>>(),
            "customers": self.customers,
            "purchases": self.purchases.iter().map(|(key, it)| (key, purchase(it))).collect::<BTreeMap<_, _>>(),
            "reversals": self.reversals,
            "subscriptions": self.subscriptions.iter().map(|(id, it)| (id, subscription(it))).collect::<BTreeMap<_, _>>(),
            "waiting": self.waiting,
        })
    }
}
