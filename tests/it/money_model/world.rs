//! A small Stripe: what people, banks and time do there, what it tells of that in events, and how things stand when it is asked.
//! It knows what each event is about in its own terms, so that nobody has to read events to know what should come of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    dice::Dice,
    shapes::{self, Shape},
};

/// The price that locally stands for the plan Pro.
const PRO: &str = "price_pro_monthly";
const PRO_CREDITS: i64 = 20;
const DAY: i64 = 86_400;

/// Something that Stripe tells.
#[derive(Clone, Debug)]
pub struct Event {
    pub id: String,
    pub about: About,
    /// Whether it cannot be understood without asking Stripe.
    pub asks: bool,
    pub body: Value,
}

/// What an event means, in the world's own terms.
#[derive(Clone, Debug)]
pub enum About {
    /// A type that we do not handle.
    Nothing,
    /// One that is kept and moves nothing.
    Kept,
    Paid(Purchase),
    Changed(Object),
}

/// Something whose state counts, by its id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    Subscription(String),
    Charge(String),
    Dispute(String),
}

impl Object {
    pub fn id(&self) -> &str {
        let (Self::Subscription(id) | Self::Charge(id) | Self::Dispute(id)) = self;
        id
    }
}

/// A payment for credits; of none where what was paid for is not ours.
#[derive(Clone, Debug)]
pub struct Purchase {
    pub key: String,
    pub customer: String,
    /// Whom the metadata names.
    pub named: Option<Uuid>,
    pub plan: bool,
    pub credits: i64,
    pub paid: i64,
}

pub struct Customer {
    pub id: String,
    pub user: Uuid,
    pub naming: Naming,
}

/// What our metadata on a customer's objects says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// Nothing, often; now and then somebody else. These customers are mapped before anything happens.
    AnyHow,
    /// The user.
    Always,
    /// The user, but not on invoices: an endpoint of an old version.
    NotOnInvoices,
    /// Nothing: made by hand in Stripe's dashboard.
    Never,
}

pub struct Item {
    pub price: &'static str,
    pub quantity: u64,
    pub start: i64,
    pub end: i64,
}

pub struct Subscription {
    pub id: String,
    pub customer: String,
    pub named: Option<Uuid>,
    pub status: &'static str,
    pub items: Vec<Item>,
    pub at_period_end: bool,
    pub cancel_at: Option<i64>,
    pub ended_at: Option<i64>,
    pub created: i64,
    /// Stripe no longer has it.
    pub gone: bool,
}

impl Subscription {
    /// The item that is a plan of ours.
    pub fn plan(&self) -> Option<&Item> {
        self.items.iter().find(|item| item.price == PRO)
    }

    fn over(&self) -> bool {
        self.gone || self.status == "canceled"
    }
}

pub struct Line {
    pub id: String,
    pub price: Option<&'static str>,
    pub quantity: u64,
    pub proration: bool,
}

pub struct Invoice {
    pub id: String,
    pub customer: String,
    pub subscription: Option<String>,
    pub named: Option<Uuid>,
    pub reason: &'static str,
    pub lines: Vec<Line>,
    pub amount: i64,
    pub currency: &'static str,
    pub intents: Vec<String>,
    /// Not paid yet.
    pub open: bool,
    pub created: i64,
}

impl Invoice {
    fn purchase(&self) -> Option<Purchase> {
        let whole = self.lines.iter().filter(|line| line.price == Some(PRO) && !line.proration);
        let credits = whole.map(|line| PRO_CREDITS * line.quantity as i64).sum();
        matches!(self.reason, "subscription_create" | "subscription_cycle").then(|| Purchase {
            key: format!("invoice:{}", self.id),
            customer: self.customer.clone(),
            named: self.named,
            plan: true,
            credits,
            paid: self.amount,
        })
    }
}

pub struct Charge {
    pub id: String,
    pub intent: String,
    pub invoice: Option<String>,
    pub customer: String,
    pub amount: i64,
    pub currency: &'static str,
    pub refunds: Vec<Refund>,
}

impl Charge {
    pub fn refunded(&self) -> i64 {
        self.refunds.iter().filter(|refund| !refund.failed).map(|refund| refund.amount).sum()
    }

    fn purchase_key(&self) -> String {
        match &self.invoice {
            Some(invoice) => format!("invoice:{invoice}"),
            None => format!("payment_intent:{}", self.intent),
        }
    }
}

pub struct Refund {
    pub id: String,
    pub amount: i64,
    pub failed: bool,
}

pub struct Dispute {
    pub id: String,
    pub charge: String,
    pub intent: String,
    pub amount: i64,
    pub status: &'static str,
}

pub struct Session {
    pub id: String,
    pub mode: &'static str,
    pub status: &'static str,
    pub payment_status: &'static str,
    pub customer: String,
    pub named: Option<Uuid>,
    /// Which pack, and how many credits were promised; none on a payment for something else.
    pub pack: Option<(&'static str, i64)>,
    pub subscription: Option<String>,
    pub intent: Option<String>,
    pub amount: i64,
    pub currency: &'static str,
    pub created: i64,
}

impl Session {
    fn about(&self) -> About {
        match (&self.subscription, self.pack) {
            (Some(subscription), _) => About::Changed(Object::Subscription(subscription.clone())),
            (None, Some((pack, credits))) if ["paid", "no_payment_required"].contains(&self.payment_status) => {
                About::Paid(Purchase {
                    key: match &self.intent {
                        Some(intent) => format!("payment_intent:{intent}"),
                        None => format!("checkout_session:{}", self.id),
                    },
                    customer: self.customer.clone(),
                    named: self.named,
                    plan: false,
                    credits: if ["small", "large"].contains(&pack) { credits } else { 0 },
                    paid: self.amount,
                })
            }
            _ => About::Kept,
        }
    }
}

pub struct World {
    /// In every id.
    pub tag: String,
    /// When it began, in seconds.
    pub now: i64,
    pub customers: Vec<Customer>,
    pub subscriptions: BTreeMap<String, Subscription>,
    pub charges: BTreeMap<String, Charge>,
    pub disputes: BTreeMap<String, Dispute>,
    invoices: BTreeMap<String, Invoice>,
    sessions: BTreeMap<String, Session>,
    clock: i64,
    made: u64,
    told: Vec<Event>,
}

impl World {
    pub fn new(tag: String, now: i64) -> Self {
        Self {
            tag,
            now,
            customers: Vec::new(),
            subscriptions: BTreeMap::new(),
            charges: BTreeMap::new(),
            disputes: BTreeMap::new(),
            invoices: BTreeMap::new(),
            sessions: BTreeMap::new(),
            clock: now - 40 * DAY,
            made: 0,
            told: Vec::new(),
        }
    }

    /// What was told since this was last asked.
    pub fn told(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.told)
    }

    pub fn id(&mut self, prefix: &str) -> String {
        self.made += 1;
        format!("{prefix}_{}{:04}", self.tag, self.made)
    }

    pub fn add_customer(&mut self, user: Uuid, naming: Naming) -> String {
        let id = self.id("cus");
        self.customers.push(Customer { id: id.clone(), user, naming });
        id
    }

    /// Time goes on, or not: much happens within the same second.
    pub fn tick(&mut self, dice: &mut Dice) {
        if dice.percent(40) {
            self.clock += dice.between(1, 6 * 3600);
        }
    }

    /// Something happens.
    pub fn happen(&mut self, dice: &mut Dice) {
        loop {
            let happened = match dice.roll(100) {
                0..16 => self.subscribe(dice),
                16..30 => self.renew(dice),
                30..42 => self.change_some(dice, |object| matches!(object, Object::Subscription(_))),
                42..60 => self.buy_pack(dice),
                60..66 => self.settle_pack(dice),
                66..80 => self.change_some(dice, |object| matches!(object, Object::Charge(_))),
                80..86 => self.dispute(dice),
                86..92 => self.change_some(dice, |object| matches!(object, Object::Dispute(_))),
                92..96 => self.bill_something_else(dice),
                96..99 => self.chat(dice),
                _ => self.forget(dice),
            };
            if happened {
                return;
            }
        }
    }

    fn tell(&mut self, kind: &str, shape: Shape, about: About, asks: bool, object: Value) {
        let asks = asks || matches!(about, About::Changed(_));
        let id = self.id("evt");
        let body = json!({
            "id": id, "object": "event", "api_version": shape.version, "created": self.clock, "livemode": false, "type": kind,
            "pending_webhooks": 1, "request": { "id": null, "idempotency_key": null }, "data": { "object": object },
        });
        self.told.push(Event { id, about, asks, body });
    }

    fn tell_invoice(&mut self, dice: &mut Dice, kind: &str, id: &str) {
        let (shape, invoice) = (Shape::any(dice), &self.invoices[id]);
        let (about, asks) = match (kind, invoice.purchase(), &invoice.subscription) {
            ("invoice.paid", Some(purchase), _) => {
                (About::Paid(purchase), invoice.lines.len() > shapes::LINES_IN_EVENT)
            }
            ("invoice.payment_failed", _, Some(id)) => (About::Changed(Object::Subscription(id.clone())), false),
            _ => (About::Kept, false),
        };
        let object = shapes::invoice(invoice, shape);
        self.tell(kind, shape, about, asks, object);
    }

    fn tell_session(&mut self, dice: &mut Dice, kind: &str, id: &str) {
        let (shape, session) = (Shape::any(dice), &self.sessions[id]);
        let succeeded = ["checkout.session.completed", "checkout.session.async_payment_succeeded"].contains(&kind);
        let about = if succeeded { session.about() } else { About::Kept };
        let object = shapes::session(session, shape);
        self.tell(kind, shape, about, false, object);
    }

    /// Says again what was paid, by an event with another id.
    pub fn repeat(&mut self, dice: &mut Dice) {
        let invoices: Vec<String> = self.invoices.values().filter(|one| !one.open).map(|one| one.id.clone()).collect();
        let paid = |session: &&Session| session.payment_status != "unpaid";
        let sessions: Vec<String> = self.sessions.values().filter(paid).map(|one| one.id.clone()).collect();
        if !invoices.is_empty() && dice.percent(60) {
            let id = dice.pick(&invoices);
            self.tell_invoice(dice, "invoice.paid", &id);
        } else if !sessions.is_empty() {
            let id = dice.pick(&sessions);
            self.tell_session(dice, "checkout.session.completed", &id);
        }
    }

    /// Says of an object that it changed.
    pub fn tell_object(&mut self, dice: &mut Dice, object: &Object, kind: &str) {
        let shape = Shape::any(dice);
        let value = match object {
            Object::Subscription(id) => shapes::subscription(&self.subscriptions[id], shape),
            Object::Dispute(id) => shapes::dispute(&self.disputes[id], shape),
            Object::Charge(id) => {
                let charge = &self.charges[id];
                match charge.refunds.last() {
                    Some(refund) if kind != "charge.refunded" => shapes::refund(refund, charge, shape),
                    _ => shapes::charge(charge, shape),
                }
            }
        };
        self.tell(kind, shape, About::Changed(object.clone()), false, value);
    }

    /// Whom our metadata on something new names.
    fn name(&self, dice: &mut Dice, customer: usize) -> Option<Uuid> {
        let Customer { user, naming, .. } = self.customers[customer];
        match naming {
            Naming::Never => None,
            Naming::Always | Naming::NotOnInvoices => Some(user),
            Naming::AnyHow if dice.percent(12) => Some(self.customers[dice.place(self.customers.len())].user),
            Naming::AnyHow => dice.percent(50).then_some(user),
        }
    }

    fn subscribe(&mut self, dice: &mut Dice) -> bool {
        let who = dice.place(self.customers.len());
        let named = self.name(dice, who);
        let customer = self.customers[who].id.clone();
        let id = self.id("sub");
        // Half a day off, so that nothing ends while the test runs.
        let start = self.now - DAY * dice.between(0, 60) - DAY / 2;
        let item = |price, quantity, days| Item { price, quantity, start: start + days, end: start + days + 30 * DAY };
        let items = match dice.roll(10) {
            0 => vec![item("price_of_something_else", 1, 0)],
            1 => vec![item("price_of_something_else", 2, DAY), item(PRO, 1, 0)],
            2 => vec![item(PRO, 2, 0), item("price_of_something_else", 1, 3 * DAY)],
            _ => vec![item(PRO, 1, 0)],
        };
        let status = dice.pick(&["active", "active", "active", "active", "trialing", "incomplete"]);
        let subscription = Subscription {
            id: id.clone(),
            customer,
            named,
            status,
            items,
            at_period_end: false,
            cancel_at: None,
            ended_at: None,
            created: self.clock,
            gone: false,
        };
        self.subscriptions.insert(id.clone(), subscription);
        self.tell_object(dice, &Object::Subscription(id.clone()), "customer.subscription.created");
        self.bill(dice, &id, "subscription_create", status == "incomplete");
        if dice.percent(40) {
            let Subscription { customer, named, .. } = &self.subscriptions[&id];
            let (customer, named) = (customer.clone(), *named);
            let session = self.id("cs_test");
            let visit = Session {
                id: session.clone(),
                mode: "subscription",
                status: "complete",
                payment_status: "paid",
                customer,
                named,
                pack: None,
                subscription: Some(id),
                intent: None,
                amount: 1900,
                currency: "usd",
                created: self.clock,
            };
            self.sessions.insert(session.clone(), visit);
            self.tell_session(dice, "checkout.session.completed", &session);
        }
        true
    }

    /// A bill of a subscription, paid at once or not.
    fn bill(&mut self, dice: &mut Dice, subscription: &str, reason: &'static str, fails: bool) {
        let id = self.id("in");
        let Subscription { customer, named, items, .. } = &self.subscriptions[subscription];
        let naming = self.customers.iter().find(|one| one.id == *customer).map(|one| one.naming);
        let change = reason == "subscription_update";
        let line = |price, quantity, proration| Line { id: String::new(), price, quantity, proration };
        let mut lines: Vec<Line> = items.iter().map(|item| line(Some(item.price), item.quantity, change)).collect();
        if dice.percent(20) {
            lines.insert(0, line(Some(PRO), 1, true));
        }
        if dice.percent(15) {
            lines.insert(0, line(None, 1, false));
        }
        if dice.percent(12) {
            lines.splice(0..0, (0..dice.between(9, 19)).map(|_| line(Some("price_of_a_call"), 3, false)));
        }
        for (n, line) in lines.iter_mut().enumerate() {
            line.id = format!("il_{id}_{n}");
        }
        let invoice = Invoice {
            id: id.clone(),
            customer: customer.clone(),
            subscription: Some(subscription.to_owned()),
            named: named.filter(|_| naming != Some(Naming::NotOnInvoices)),
            reason,
            lines,
            amount: dice.pick(&[1900, 1900, 1900, 3800, 1333, 7, 1, 0]),
            currency: dice.pick(&["usd", "usd", "eur", "jpy"]),
            intents: Vec::new(),
            open: true,
            created: self.clock,
        };
        self.invoices.insert(id.clone(), invoice);
        if fails {
            self.tell_invoice(dice, "invoice.payment_failed", &id);
        } else {
            self.pay(dice, &id);
        }
    }

    /// Money for a bill, by one payment or by two.
    fn pay(&mut self, dice: &mut Dice, invoice: &str) {
        let Invoice { amount, currency, ref customer, .. } = self.invoices[invoice];
        let customer = customer.clone();
        let mut parts = vec![amount];
        if amount > 1 && dice.percent(15) {
            let first = dice.between(1, amount - 1);
            parts = vec![first, amount - first];
        }
        for amount in parts.into_iter().filter(|amount| *amount > 0) {
            let intent = self.id("pi");
            self.charge(&customer, Some(invoice), &intent, amount, currency);
            self.invoices.get_mut(invoice).unwrap().intents.push(intent);
        }
        self.invoices.get_mut(invoice).unwrap().open = false;
        self.tell_invoice(dice, "invoice.paid", invoice);
    }

    fn charge(
        &mut self,
        customer: &str,
        invoice: Option<&str>,
        intent: &str,
        amount: i64,
        currency: &'static str,
    ) -> String {
        let id = self.id("ch");
        let charge = Charge {
            id: id.clone(),
            intent: intent.to_owned(),
            invoice: invoice.map(ToOwned::to_owned),
            customer: customer.to_owned(),
            amount,
            currency,
            refunds: Vec::new(),
        };
        self.charges.insert(id.clone(), charge);
        id
    }

    /// A subscription's next period, or money for one that is owed.
    fn renew(&mut self, dice: &mut Dice) -> bool {
        let running: Vec<String> =
            self.subscriptions.values().filter(|one| !one.over()).map(|one| one.id.clone()).collect();
        if running.is_empty() {
            return false;
        }
        let id = dice.pick(&running);
        let owed = self.invoices.values().find(|one| one.open && one.subscription.as_ref() == Some(&id));
        let (owed, fails) = (owed.map(|one| one.id.clone()), dice.percent(25));
        let subscription = self.subscriptions.get_mut(&id).unwrap();
        subscription.status = if fails { "past_due" } else { "active" };
        if owed.is_none() {
            for item in &mut subscription.items {
                (item.start, item.end) = (item.end, item.end + 30 * DAY);
            }
        }
        match owed {
            Some(invoice) if fails => self.tell_invoice(dice, "invoice.payment_failed", &invoice),
            Some(invoice) => self.pay(dice, &invoice),
            None => self.bill(dice, &id, "subscription_cycle", fails),
        }
        self.tell_object(dice, &Object::Subscription(id), "customer.subscription.updated");
        true
    }

    /// Bills that begin no period.
    fn bill_something_else(&mut self, dice: &mut Dice) -> bool {
        let some: Vec<String> = self.subscriptions.keys().cloned().collect();
        if some.is_empty() {
            return false;
        }
        let id = dice.pick(&some);
        let reason = dice.pick(&["subscription_update", "manual", "subscription_threshold"]);
        self.bill(dice, &id, reason, false);
        true
    }

    /// A visit to checkout for a pack.
    fn buy_pack(&mut self, dice: &mut Dice) -> bool {
        let who = dice.place(self.customers.len());
        self.buy_pack_of(dice, who);
        true
    }

    /// The same for a customer; answers the charge, if it was paid at once.
    pub fn buy_pack_of(&mut self, dice: &mut Dice, who: usize) -> Option<String> {
        let named = self.name(dice, who);
        let customer = self.customers[who].id.clone();
        let (pack, amount) = match dice.roll(12) {
            0 => (None, 500),
            1 => (Some(("no_longer_sold", 10)), 900),
            2 => (Some(("small", 12)), 1000),
            3..6 => (Some(("large", 50)), 3900),
            _ => (Some(("small", 10)), 900),
        };
        let payment_status = dice.pick(&["paid", "paid", "paid", "paid", "paid", "unpaid", "no_payment_required"]);
        let id = self.id("cs_test");
        let intent = (payment_status != "no_payment_required").then(|| self.id("pi"));
        let session = Session {
            id: id.clone(),
            mode: "payment",
            status: "complete",
            payment_status,
            customer: customer.clone(),
            named,
            pack,
            subscription: None,
            intent: intent.clone(),
            amount: if intent.is_some() { amount } else { 0 },
            currency: dice.pick(&["usd", "jpy"]),
            created: self.clock,
        };
        let currency = session.currency;
        self.sessions.insert(id.clone(), session);
        if dice.percent(5) {
            let session = self.sessions.get_mut(&id).unwrap();
            (session.status, session.payment_status) = ("expired", "unpaid");
            self.tell_session(dice, "checkout.session.expired", &id);
            return None;
        }
        let paid = intent.filter(|_| payment_status == "paid");
        let charge = paid.map(|intent| self.charge(&customer, None, &intent, amount, currency));
        self.tell_session(dice, "checkout.session.completed", &id);
        charge
    }

    /// The bank says whether a transfer came.
    fn settle_pack(&mut self, dice: &mut Dice) -> bool {
        let waits = |session: &&Session| session.status == "complete" && session.payment_status == "unpaid";
        let waiting: Vec<String> = self.sessions.values().filter(waits).map(|one| one.id.clone()).collect();
        if waiting.is_empty() {
            return false;
        }
        let id = dice.pick(&waiting);
        let session = self.sessions.get_mut(&id).unwrap();
        if dice.percent(30) {
            session.status = "expired";
            self.tell_session(dice, "checkout.session.async_payment_failed", &id);
        } else {
            session.payment_status = "paid";
            let (customer, intent) = (session.customer.clone(), session.intent.clone().unwrap());
            let (amount, currency) = (session.amount, session.currency);
            self.charge(&customer, None, &intent, amount, currency);
            self.tell_session(dice, "checkout.session.async_payment_succeeded", &id);
        }
        true
    }

    fn dispute(&mut self, dice: &mut Dice) -> bool {
        let disputed = |charge: &&Charge| self.disputes.values().any(|dispute| dispute.charge == charge.id);
        let free: Vec<&Charge> = self.charges.values().filter(|charge| !disputed(charge)).collect();
        if free.is_empty() {
            return false;
        }
        // Often one that was refunded in part.
        let refunded: Vec<&Charge> = free.iter().copied().filter(|charge| !charge.refunds.is_empty()).collect();
        let some = if !refunded.is_empty() && dice.percent(50) { refunded } else { free };
        let Charge { id: charge, intent, amount, .. } = dice.pick(&some);
        let (charge, intent, amount) = (charge.clone(), intent.clone(), *amount);
        let id = self.id("du");
        let amount = if dice.percent(50) { amount } else { dice.between(1, amount) };
        let status = dice.pick(&["needs_response", "needs_response", "warning_needs_response"]);
        self.disputes.insert(id.clone(), Dispute { id: id.clone(), charge, intent, amount, status });
        let object = Object::Dispute(id);
        self.tell_object(dice, &object, "charge.dispute.created");
        if status == "needs_response" {
            self.tell_object(dice, &object, "charge.dispute.funds_withdrawn");
        }
        true
    }

    fn change_some(&mut self, dice: &mut Dice, which: impl Fn(&Object) -> bool) -> bool {
        let some: Vec<Object> = self.objects().into_iter().filter(|one| which(one) && self.can_change(one)).collect();
        if some.is_empty() {
            return false;
        }
        let object = dice.pick(&some);
        self.change(dice, &object);
        true
    }

    /// Everything whose state counts.
    pub fn objects(&self) -> Vec<Object> {
        let subscriptions = self.subscriptions.keys().cloned().map(Object::Subscription);
        let charges = self.charges.keys().cloned().map(Object::Charge);
        subscriptions.chain(charges).chain(self.disputes.keys().cloned().map(Object::Dispute)).collect()
    }

    /// Whether anything can happen to it any more.
    pub fn can_change(&self, object: &Object) -> bool {
        match object {
            Object::Subscription(id) => !self.subscriptions[id].over(),
            Object::Charge(_) | Object::Dispute(_) => true,
        }
    }

    /// Changes something, and says so.
    pub fn change(&mut self, dice: &mut Dice, object: &Object) {
        let kind = match object {
            Object::Subscription(id) => self.change_subscription(dice, id),
            Object::Charge(id) => self.change_charge(dice, id),
            Object::Dispute(id) => {
                let dispute = self.disputes.get_mut(id).unwrap();
                let next: &[&str] = match dispute.status {
                    "warning_needs_response" => &["warning_under_review", "warning_closed", "needs_response"],
                    "warning_under_review" => &["warning_closed", "needs_response"],
                    "needs_response" => &["under_review", "won", "lost", "prevented"],
                    "under_review" => &["won", "lost", "not_invented_yet"],
                    "lost" => &["appeal_needs_response", "won"],
                    "appeal_needs_response" => &["appeal_under_review", "lost"],
                    "won" | "appeal_under_review" => &["lost"],
                    _ => &["won"],
                };
                dispute.status = dice.pick(next);
                match dispute.status {
                    "won" => dice.pick(&["charge.dispute.closed", "charge.dispute.funds_reinstated"]),
                    "lost" | "warning_closed" => "charge.dispute.closed",
                    _ => "charge.dispute.updated",
                }
            }
        };
        self.tell_object(dice, object, kind);
    }

    fn change_subscription(&mut self, dice: &mut Dice, id: &str) -> &'static str {
        let (now, clock) = (self.now, self.clock);
        let it = self.subscriptions.get_mut(id).unwrap();
        match dice.roll(12) {
            0..4 => {
                it.at_period_end = !it.at_period_end;
                // Stripe says when; what is older does not.
                it.cancel_at = None;
                if it.at_period_end && dice.percent(50) {
                    it.cancel_at = it.items.iter().map(|item| item.end).max();
                }
                "customer.subscription.updated"
            }
            4 => {
                it.cancel_at = Some(now + dice.between(-3, 10) * DAY + DAY / 2);
                "customer.subscription.updated"
            }
            5 => {
                (it.status, it.ended_at) = ("canceled", Some(clock));
                "customer.subscription.deleted"
            }
            6 => {
                it.status = if it.status == "paused" { "active" } else { "paused" };
                if it.status == "paused" { "customer.subscription.paused" } else { "customer.subscription.resumed" }
            }
            7 => {
                it.items[0].quantity += 1;
                self.bill(dice, id, "subscription_update", false);
                "customer.subscription.updated"
            }
            _ => {
                let others = ["active", "past_due", "unpaid", "trialing", "not_invented_yet"];
                let others: Vec<&str> = others.into_iter().filter(|other| *other != it.status).collect();
                it.status = dice.pick(&others);
                "customer.subscription.updated"
            }
        }
    }

    /// Money goes back to the payer, or comes back because it did not arrive there.
    fn change_charge(&mut self, dice: &mut Dice, id: &str) -> &'static str {
        let refund = self.id("re");
        let charge = self.charges.get_mut(id).unwrap();
        let left = charge.amount - charge.refunded();
        let returned: Vec<usize> = (0..charge.refunds.len()).filter(|n| !charge.refunds[*n].failed).collect();
        if left == 0 || (!returned.is_empty() && dice.percent(25)) {
            let mut failed = charge.refunds.remove(dice.pick(&returned));
            failed.failed = true;
            charge.refunds.push(failed);
            dice.pick(&["refund.failed", "refund.updated", "charge.refund.updated"])
        } else {
            let amount = if dice.percent(40) { left } else { dice.between(1, left) };
            charge.refunds.push(Refund { id: refund, amount, failed: false });
            dice.pick(&["charge.refunded", "charge.refunded", "refund.created"])
        }
    }

    /// What is no business of ours, and what we keep and do nothing about.
    fn chat(&mut self, dice: &mut Dice) -> bool {
        let shape = Shape::any(dice);
        let (kind, about) = match dice.roll(5) {
            0 => ("refund.created", About::Kept),
            1 => ("payment_intent.succeeded", About::Nothing),
            2 => ("invoice_payment.paid", About::Nothing),
            3 => ("customer.created", About::Nothing),
            _ => ("something.not_invented.yet", About::Nothing),
        };
        let id = self.id("obj");
        self.tell(kind, shape, about, false, json!({ "id": id, "object": "some", "charge": null }));
        true
    }

    /// Somebody deletes a subscription's traces at Stripe.
    fn forget(&mut self, dice: &mut Dice) -> bool {
        let some: Vec<String> = self.subscriptions.values().filter(|one| !one.gone).map(|one| one.id.clone()).collect();
        if some.is_empty() {
            return false;
        }
        let id = dice.pick(&some);
        self.tell_object(dice, &Object::Subscription(id.clone()), "customer.subscription.deleted");
        self.subscriptions.get_mut(&id).unwrap().gone = true;
        true
    }

    /// How much of which purchase is gone through a charge's refunds or a dispute.
    pub fn reversal(&self, object: &Object) -> Option<(String, i64)> {
        match object {
            Object::Subscription(_) => None,
            Object::Charge(id) => {
                let charge = &self.charges[id];
                Some((charge.purchase_key(), charge.refunded()))
            }
            Object::Dispute(id) => {
                let dispute = &self.disputes[id];
                let gone = ["needs_response", "under_review", "lost", "appeal_needs_response", "appeal_under_review"];
                let amount = if gone.contains(&dispute.status) { dispute.amount } else { 0 };
                Some((self.charges[&dispute.charge].purchase_key(), amount))
            }
        }
    }

    /// What the API answers.
    pub fn answer(&self, path: &str, query: &BTreeMap<String, String>) -> Option<Value> {
        let steps: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
        match steps[..] {
            ["subscriptions", id] => {
                let found = self.subscriptions.get(id).filter(|one| !one.gone)?;
                Some(shapes::subscription(found, Shape::API))
            }
            ["charges", id] => Some(shapes::charge(self.charges.get(id)?, Shape::API)),
            ["disputes", id] => Some(shapes::dispute(self.disputes.get(id)?, Shape::API)),
            ["invoice_payments"] => {
                assert_eq!(query["payment[type]"], "payment_intent");
                let intent = &query["payment[payment_intent]"];
                let paid = self.invoices.values().filter(|one| one.intents.contains(intent));
                let payment =
                    |invoice: &Invoice| json!({ "id": "inpay_1", "object": "invoice_payment", "invoice": invoice.id });
                Some(json!({ "object": "list", "data": paid.map(payment).collect::<Vec<_>>(), "has_more": false }))
            }
            ["invoices", id, "lines"] => {
                let invoice = self.invoices.get(id)?;
                let after = query.get("starting_after");
                let from =
                    after.map_or(0, |after| 1 + invoice.lines.iter().position(|line| line.id == *after).unwrap());
                // Small pages, so that there are several.
                let until = invoice.lines.len().min(from + 6);
                let line = |line: &Line| shapes::line(line, invoice.subscription.as_ref(), Shape::API);
                let page: Vec<Value> = invoice.lines[from..until].iter().map(line).collect();
                Some(json!({ "object": "list", "data": page, "has_more": until < invoice.lines.len() }))
            }
            _ => None,
        }
    }
}
