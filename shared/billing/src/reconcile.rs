//! Stripe and the database side by side: what no event told, and what did not take effect.
//!
//! Stripe's lists and our tables are walked page by page. What a page of Stripe's says is tried out in the database and taken
//! back again, so that the rules are the webhook's, and a difference is whatever would move. What is state is then fetched
//! once more after drawing a ticket, as for an event, and only what differs still is told or mended. So a webhook that comes at
//! the same time does no harm, and after mending there is nothing left to find.
//!
//! Nothing is ever deleted, and nobody is matched but by our own mapping and metadata.

use std::{
    collections::{BTreeMap, HashSet, hash_map::RandomState},
    fmt::{self, Display, Formatter},
    hash::BuildHasher,
    slice,
};

use domain::id::UserId;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use stripe_client::{Charge, Pages, StripeError};
use supabase_client::{
    Applied, Change, Goods, Preview, Purchase, Reversal, StoredEvent, SubscriptionState, SupabaseError,
};

use crate::{
    Billing, BillingError, Event,
    reading::{
        About, at_stake, priced_lines, purchase_of_invoice, purchase_of_session, state_of_subscription, user_id,
    },
};

/// An event that came this short a time ago may still be at work.
const AT_WORK: SignedDuration = SignedDuration::from_mins(1);

/// What is to be compared.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// What was made or paid since then. Subscriptions that have not ended are compared whatever their age.
    pub since: Timestamp,
    /// Of this user only.
    pub user: Option<UserId>,
    /// Whether to mend what can be mended.
    pub apply: bool,
}

/// Something that Stripe and the database do not agree about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// A sentence: who and what.
    pub what: String,
    /// And what to do.
    pub remedy: Remedy,
}

/// What is to be done about a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Mending brings this.
    Possible(String),
    /// It was mended, which brought this.
    Done(String),
    /// A sentence for a person.
    Person(String),
}

impl Display for Difference {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let what = &self.what;
        match &self.remedy {
            Remedy::Possible(effect) => write!(f, "{what} --apply brings: {effect}."),
            Remedy::Done(effect) => write!(f, "{what} Mended: {effect}."),
            Remedy::Person(advice) => write!(f, "{what} {advice}"),
        }
    }
}

/// What came of a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// So many objects of Stripe's and rows of ours were looked at.
    pub compared: usize,
    /// So many differences were found.
    pub found: usize,
    /// So many of them were mended, or would be.
    pub mendable: usize,
}

impl Billing {
    /// Compares Stripe with the database and tells of each difference as it is found.
    ///
    /// # Errors
    /// When Stripe or the database cannot be asked. What was mended by then stays so, and it can be done again.
    pub async fn reconcile(
        &self,
        scope: Scope,
        tell: &mut (dyn FnMut(&Difference) + Send),
    ) -> Result<Summary, BillingError> {
        let (customers, seen) = (vec![None], Seen::default());
        let mut walk = Walk { billing: self, scope, customers, seen, tell, summary: Summary::default() };
        if let Some(user) = scope.user {
            walk.find_customers_of(user).await?;
        }
        walk.events().await?;
        walk.subscriptions().await?;
        walk.purchases().await?;
        walk.reversals().await?;
        walk.our_purchases().await?;
        // After the subscriptions: of two customers of a user, the one who subscribed is hers.
        walk.customers().await?;
        walk.books().await?;
        Ok(walk.summary)
    }

    /// Whether Stripe says that this purchase was paid.
    async fn is_paid(&self, purchase_key: &str) -> Result<bool, StripeError> {
        Ok(match purchase_key.split_once(':') {
            Some(("invoice", id)) => {
                self.stripe.invoice(id).await?.is_some_and(|invoice| invoice.status.as_deref() == Some("paid"))
            }
            Some(("payment_intent", id)) => self.stripe.payment_status(id).await?.as_deref() == Some("succeeded"),
            Some(("checkout_session", id)) => {
                self.stripe.checkout_session(id).await?.is_some_and(|session| session.payment_status != "unpaid")
            }
            _ => false,
        })
    }
}

/// Remembers what was seen at Stripe by eight bytes each, so that only the rest has to be asked for one by one.
#[derive(Default)]
struct Seen(HashSet<u64>, RandomState);

impl Seen {
    fn add(&mut self, id: &str) {
        self.0.insert(self.1.hash_one(id));
    }

    fn has(&self, id: &str) -> bool {
        self.0.contains(&self.1.hash_one(id))
    }
}

struct Walk<'a> {
    billing: &'a Billing,
    scope: Scope,
    /// Whose lists are read: everybody's (`None`), or those of one user's customers.
    customers: Vec<Option<String>>,
    seen: Seen,
    tell: &'a mut (dyn FnMut(&Difference) + Send),
    summary: Summary,
}

impl Walk<'_> {
    fn found(&mut self, what: String, remedy: Remedy) {
        self.summary.found += 1;
        self.summary.mendable += usize::from(!matches!(remedy, Remedy::Person(_)));
        (self.tell)(&Difference { what, remedy });
    }

    /// The next page; a customer whom Stripe no longer has, has no lists.
    async fn next<T: serde::de::DeserializeOwned>(
        &mut self,
        pages: &mut Pages<T>,
    ) -> Result<Option<Vec<T>>, StripeError> {
        let page = match pages.next().await {
            Err(error) if error.is_missing("customer") => None,
            page => page?,
        };
        self.summary.compared += page.as_ref().map_or(0, Vec::len);
        Ok(page)
    }

    fn is_hers(&self, customer: Option<&str>) -> bool {
        self.customers.iter().any(|wanted| wanted.is_none() || wanted.as_deref() == customer)
    }

    /// By our mapping, and by what we wrote on customers at Stripe.
    async fn find_customers_of(&mut self, user: UserId) -> Result<(), BillingError> {
        let mut customers: HashSet<String> = self.billing.database.customer_of(user).await?.into_iter().collect();
        let mut pages = self.billing.stripe.customers(self.scope.since);
        while let Some(page) = pages.next().await? {
            customers.extend(page.into_iter().filter(|one| user_id(&one.metadata) == Some(user)).map(|one| one.id));
        }
        self.customers = customers.into_iter().map(Some).collect();
        Ok(())
    }

    /// Of these changes those that would move something, by their place.
    async fn differing(&self, changes: &[Change]) -> Result<Vec<(usize, Preview)>, SupabaseError> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let previews = self.billing.database.preview_stripe_changes(changes).await?;
        Ok(previews.into_iter().enumerate().filter(|(at, preview)| differs(&changes[*at], preview)).collect())
    }

    /// Tells of a change that would move something, and makes it if that is wanted.
    async fn mend(&mut self, change: &Change, ticket: Option<i64>, preview: &Preview) -> Result<(), BillingError> {
        let mut outcome = preview.outcome;
        if let (Applied::Ignored | Applied::Unmatched, Change::Purchase(purchase)) = (outcome, change)
            && is_strange(preview)
        {
            self.found(describe(change, preview), Remedy::Person(strange(&purchase.goods)));
            return Ok(());
        }
        if self.scope.apply && advice(outcome).is_none() {
            outcome = self.billing.database.apply_stripe_change(change, ticket).await?;
        }
        let remedy = match (advice(outcome), outcome) {
            (Some(advice), _) => Remedy::Person(advice.to_owned()),
            _ if !self.scope.apply => Remedy::Possible(effect(change, preview)),
            (_, Applied::Granted | Applied::Stored) => Remedy::Done(effect(change, preview)),
            _ => Remedy::Done("it has been put right meanwhile".to_owned()),
        };
        self.found(describe(change, preview), remedy);
        Ok(())
    }

    /// Fetches it as for an event and compares again, this time for good.
    async fn settle(&mut self, about: &About) -> Result<(), BillingError> {
        let ticket = self.billing.database.stripe_ticket().await?;
        let change = self.billing.fetch(about).await?;
        let Some((_, preview)) = self.differing(slice::from_ref(&change)).await?.pop() else { return Ok(()) };
        if let Change::Subscription(SubscriptionState::Gone { id, .. }) = &change {
            // Stripe forgets no subscription, unless somebody deletes all data of a test account.
            let what = format!("Subscription {id} of {} does not exist at Stripe.", who(&preview, "nobody we know"));
            let advice = "Is STRIPE_SECRET_KEY the key of the account where she subscribed?";
            self.found(what, Remedy::Person(advice.to_owned()));
            return Ok(());
        }
        self.mend(&change, Some(ticket), &preview).await
    }

    async fn events(&mut self) -> Result<(), BillingError> {
        let mut after = String::new();
        loop {
            let page = self.billing.database.unapplied_events(self.scope.since, &after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(&last.id);
            self.summary.compared += page.len();
            for event in page {
                let at_work = event.outcome.is_none() && event.received_at > Timestamp::now() - AT_WORK;
                if !at_work && self.is_about_her(&event) {
                    self.event(event).await?;
                }
            }
        }
    }

    fn is_about_her(&self, event: &StoredEvent) -> bool {
        let Some(user) = self.scope.user else { return true };
        let text = event.payload.to_string();
        let hers = self.customers.iter().flatten().any(|customer| text.contains(customer));
        hers || text.contains(&user.to_string())
    }

    async fn event(&mut self, event: StoredEvent) -> Result<(), BillingError> {
        let why = event.outcome.map_or("it was begun and never finished", reason);
        let what = format!("Event {} ({}) has not taken effect: {why}.", event.id, event.r#type);
        let remedy = if self.scope.apply {
            match self.again(event.payload).await {
                Ok(outcome) => match outcome.and_then(advice) {
                    Some(advice) => Remedy::Person(advice.to_owned()),
                    None => Remedy::Done("it has taken effect".to_owned()),
                },
                Err(error) if error.is_temporary() => return Err(error),
                Err(error) => Remedy::Person(format!("It cannot be applied: {error}.")),
            }
        } else {
            Remedy::Possible("another try".to_owned())
        };
        self.found(what, remedy);
        Ok(())
    }

    async fn again(&self, payload: Value) -> Result<Option<Applied>, BillingError> {
        let event = Event::from_value(payload).map_err(BillingError::Unreadable)?;
        self.billing.apply(&event, true).await
    }

    async fn subscriptions(&mut self) -> Result<(), BillingError> {
        for customer in self.customers.clone() {
            let (stripe, since, customer) = (&self.billing.stripe, self.scope.since, customer.as_deref());
            for mut pages in [stripe.subscriptions_since(since, customer), stripe.subscriptions_before(since, customer)]
            {
                while let Some(page) = self.next(&mut pages).await? {
                    let ids: Vec<String> = page.iter().map(|one| one.id.clone()).collect();
                    ids.iter().for_each(|id| self.seen.add(id));
                    let changes: Vec<Change> =
                        page.into_iter().map(|one| Change::Subscription(state_of_subscription(one))).collect();
                    for (at, _) in self.differing(&changes).await? {
                        self.settle(&About::Subscription(ids[at].clone())).await?;
                    }
                }
            }
        }
        let mut after = String::new();
        loop {
            let page = self.billing.database.open_subscriptions(self.scope.user, &after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(last);
            self.summary.compared += page.len();
            for id in page {
                if !self.seen.has(&id) {
                    self.settle(&About::Subscription(id)).await?;
                }
            }
        }
    }

    async fn purchases(&mut self) -> Result<(), BillingError> {
        for customer in self.customers.clone() {
            let (stripe, since) = (&self.billing.stripe, self.scope.since);
            let mut pages = stripe.paid_invoices(since, customer.as_deref());
            while let Some(page) = self.next(&mut pages).await? {
                let mut purchases = Vec::new();
                for invoice in page {
                    let Some(mut purchase) = purchase_of_invoice(&invoice) else { continue };
                    if invoice.more_lines {
                        let lines = priced_lines(stripe.invoice_lines(&invoice.id).await?);
                        purchase.goods = Goods::Lines { lines };
                    }
                    purchases.push(purchase);
                }
                self.paid(purchases).await?;
            }
            let mut pages = stripe.completed_sessions(since, customer.as_deref());
            while let Some(page) = self.next(&mut pages).await? {
                self.paid(page.iter().filter_map(purchase_of_session).collect()).await?;
            }
        }
        Ok(())
    }

    /// What was paid is a fact: it needs no ticket and no second look.
    async fn paid(&mut self, purchases: Vec<Purchase>) -> Result<(), BillingError> {
        purchases.iter().for_each(|purchase| self.seen.add(&purchase.key));
        let changes: Vec<Change> = purchases.into_iter().map(Change::Purchase).collect();
        for (at, preview) in self.differing(&changes).await? {
            self.mend(&changes[at], None, &preview).await?;
        }
        Ok(())
    }

    async fn reversals(&mut self) -> Result<(), BillingError> {
        let stripe = &self.billing.stripe;
        let mut pages = stripe.refunds(self.scope.since);
        while let Some(page) = self.next(&mut pages).await? {
            let charges = page.into_iter().filter_map(|refund| refund.charge);
            let hers = charges.filter(|charge: &Charge| self.is_hers(charge.customer.as_deref()));
            let gone = hers.map(|charge| (charge.id, charge.amount_refunded)).collect();
            self.gone(gone).await?;
        }
        let mut pages = stripe.disputes(self.scope.since);
        while let Some(page) = self.next(&mut pages).await? {
            let hers = page.into_iter().filter(|one| self.is_hers(one.customer.as_deref()));
            let gone = hers.map(|one| (one.dispute.id.clone(), at_stake(&one.dispute))).collect();
            self.gone(gone).await?;
        }
        Ok(())
    }

    /// Charges and disputes, with how much of their payments is gone.
    async fn gone(&mut self, amounts: BTreeMap<String, i64>) -> Result<(), BillingError> {
        if amounts.is_empty() {
            return Ok(());
        }
        amounts.keys().for_each(|id| self.seen.add(id));
        let ids: Vec<&str> = amounts.keys().map(String::as_str).collect();
        let known = self.billing.database.reversals(&ids).await?;
        let change = |(id, purchase_key): (String, String)| {
            Change::Reversal(Reversal { amount: amounts[&id], id, purchase_key })
        };
        let changes: Vec<Change> = known.iter().map(|one| change((one.id.clone(), one.purchase_key.clone()))).collect();
        let differing: Vec<usize> = self.differing(&changes).await?.into_iter().map(|(at, _)| at).collect();
        let suspects = differing.into_iter().map(|at| known[at].id.as_str());
        let unknown = amounts.iter().filter(|(id, amount)| **amount > 0 && known.iter().all(|one| one.id != **id));
        for id in suspects.chain(unknown.map(|(id, _)| id.as_str())) {
            self.settle(&reversal(id)).await?;
        }
        Ok(())
    }

    async fn our_purchases(&mut self) -> Result<(), BillingError> {
        let mut after = String::new();
        loop {
            let page = self.billing.database.purchases(self.scope.since, self.scope.user, &after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(&last.key);
            self.summary.compared += page.len();
            for purchase in &page {
                if !self.seen.has(&purchase.key) && !self.billing.is_paid(&purchase.key).await? {
                    let what = format!(
                        "User {} was given {} credits for {}, which Stripe does not know as paid.",
                        purchase.user_id, purchase.credits, purchase.key
                    );
                    let advice = "Find out why before you take them back.";
                    self.found(what, Remedy::Person(advice.to_owned()));
                }
            }
            let keys: Vec<&str> = page.iter().map(|purchase| purchase.key.as_str()).collect();
            for one in self.billing.database.reversals_of(&keys).await? {
                if !self.seen.has(&one.id) {
                    self.settle(&reversal(&one.id)).await?;
                }
            }
        }
    }

    async fn customers(&mut self) -> Result<(), BillingError> {
        let mut pages = self.billing.stripe.customers(self.scope.since);
        while let Some(page) = self.next(&mut pages).await? {
            let named = page.into_iter().filter_map(|one| Some((one.id, user_id(&one.metadata)?)));
            let hers: Vec<_> = named.filter(|(_, user)| self.scope.user.is_none_or(|wanted| wanted == *user)).collect();
            if hers.is_empty() {
                continue;
            }
            for one in self.billing.database.unknown_stripe_customers(&hers).await? {
                let (customer, user) = (&one.customer_id, one.user_id);
                let what = format!("Customer {customer} belongs to user {user} by its metadata at Stripe.");
                let remedy = match one.known_as {
                    Some(other) => Remedy::Person(format!("Here it is user {other}'s: find out whose it is.")),
                    None if self.scope.apply => {
                        self.billing.database.keep_stripe_customer(user, customer, None).await?;
                        Remedy::Done("it is known as hers".to_owned())
                    }
                    None => Remedy::Possible("it is known as hers".to_owned()),
                };
                self.found(what, remedy);
            }
        }
        Ok(())
    }

    async fn books(&mut self) -> Result<(), BillingError> {
        for one in self.billing.database.users_subscribed_twice(self.scope.user).await? {
            let what = format!("User {} pays for {}.", one.user_id, one.subscriptions.join(" and for "));
            let advice = "One is enough: cancel the others at Stripe, and refund what was paid for nothing.";
            self.found(what, Remedy::Person(advice.to_owned()));
        }
        let mut after = None;
        loop {
            let audit = self.billing.database.audit(after, self.scope.user).await?;
            for one in audit.accounts {
                let (user, balance, total) = (one.user_id, one.balance, one.total);
                let what = format!("User {user} has a balance of {balance}, and a ledger that adds up to {total}.");
                let advice = "Somebody has changed the books past their triggers: find out who and how.";
                self.found(what, Remedy::Person(advice.to_owned()));
            }
            if audit.last.is_none() {
                return Ok(());
            }
            after = audit.last;
        }
    }
}

impl BillingError {
    /// Whether Stripe or the database cannot be reached, which concerns everything that would come next, too.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Stripe(StripeError::Unavailable(_)) | Self::Database(SupabaseError::Unavailable(_)))
    }
}

/// What takes a payment away has its kind in its id.
fn reversal(id: &str) -> About {
    if id.starts_with("dp_") || id.starts_with("du_") {
        About::Dispute(id.to_owned())
    } else {
        About::Charge(id.to_owned())
    }
}

/// Whether a change would move something, or needs a person.
fn differs(change: &Change, preview: &Preview) -> bool {
    match (preview.outcome, change) {
        (Applied::Granted | Applied::Mismatched, _) => true,
        (Applied::Stored, _) => preview.before != preview.after,
        // Who paid for nothing and got the money back is owed nothing.
        (Applied::Unmatched, Change::Purchase(purchase)) => is_owed(purchase, preview),
        (Applied::Unmatched, _) => true,
        (Applied::Ignored, Change::Purchase(purchase)) => {
            let by_a_customer_of_ours = preview.before.as_ref().is_some_and(|books| books.contains_key("user_id"));
            by_a_customer_of_ours && is_strange(preview) && is_owed(purchase, preview)
        }
        _ => false,
    }
}

/// Whether what was bought is in no plan and no pack.
fn is_strange(preview: &Preview) -> bool {
    preview.before.as_ref().and_then(|books| books.get("strange")) == Some(&Value::Bool(true))
}

fn is_owed(purchase: &Purchase, preview: &Preview) -> bool {
    number(&preview.before, "returned") < purchase.amount_paid
}

fn describe(change: &Change, preview: &Preview) -> String {
    match change {
        Change::Purchase(Purchase { key, customer_id, user_id, amount_paid, currency, .. }) => {
            let customer = customer_id.as_deref().unwrap_or("nobody");
            let named = user_id.map_or(String::new(), |user| format!(", whom the metadata calls user {user},"));
            let who = who(preview, &format!("customer {customer}{named}"));
            format!("{key} of {who} is paid ({amount_paid} {currency} in minor units) and has brought no credits.")
        }
        Change::Subscription(SubscriptionState::Found { id, customer_id, status, .. }) => {
            let who = who(preview, &format!("customer {customer_id}"));
            match (&preview.before, &preview.after) {
                (Some(before), Some(after)) => {
                    format!("Subscription {id} of {who} is not as at Stripe: {}.", moved(before, after))
                }
                _ => format!("Subscription {id} of {who}, {status} at Stripe, is not known here."),
            }
        }
        Change::Reversal(Reversal { id, purchase_key, amount }) => {
            let who = who(preview, "nobody we know");
            format!("{id} takes {amount} (minor units) of {purchase_key} of {who}, and here it does not.")
        }
        Change::Subscription(SubscriptionState::Gone { .. }) | Change::Nothing {} => String::new(),
    }
}

/// What making the change brings.
fn effect(change: &Change, preview: &Preview) -> String {
    match (change, &preview.before, &preview.after) {
        (Change::Purchase(_), _, after) => {
            format!("{} credits, balance {}", number(after, "credits"), number(after, "balance"))
        }
        (Change::Reversal(_), Some(before), Some(after)) => moved(before, after),
        _ => "it is as at Stripe".to_owned(),
    }
}

/// The user whom it concerns, or what to call one who is not known.
fn who(preview: &Preview, unknown: &str) -> String {
    let known = [&preview.after, &preview.before].into_iter().flatten().find_map(|books| books.get("user_id"));
    match known {
        Some(user) => format!("user {}", shown(user)),
        None => unknown.to_owned(),
    }
}

fn number(books: &Option<Map<String, Value>>, name: &str) -> i64 {
    books.as_ref().and_then(|books| books.get(name)).and_then(Value::as_i64).unwrap_or_default()
}

/// What differs, as `status active → canceled, …`.
fn moved(before: &Map<String, Value>, after: &Map<String, Value>) -> String {
    let differing = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
    let words = differing.map(|(name, value)| {
        format!("{} {} → {}", name.replace('_', " "), before.get(name).map_or("none".into(), shown), shown(value))
    });
    words.collect::<Vec<_>>().join(", ")
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn reason(outcome: Applied) -> &'static str {
    match outcome {
        Applied::Mismatched => "its customer and its metadata name different users",
        _ => "nobody is known as its customer, or no plan and no pack knows what was bought",
    }
}

/// What a person has to do about a payment for something that we do not sell.
fn strange(goods: &Goods) -> String {
    match goods {
        Goods::Pack { pack_id, .. } => {
            format!("There is no pack {pack_id}: give her the credits, or refund her at Stripe.")
        }
        Goods::Lines { lines } => {
            let prices: Vec<&str> = lines.iter().map(|line| line.price.as_str()).collect();
            let prices = prices.join(", ");
            format!("No plan knows its price ({prices}): if it is a plan's, add it to the plan's earlier_price_ids.")
        }
    }
}

/// What a person has to do where a program must not guess; `None` where nothing has to be done.
#[must_use]
pub fn advice(outcome: Applied) -> Option<&'static str> {
    match outcome {
        Applied::Unmatched => Some(
            "Nobody is known as this customer: if you are sure who it is, add a row to stripe_customers, else refund it at Stripe. \
             Or no plan knows the price: then add it to earlier_price_ids.",
        ),
        Applied::Mismatched => Some(
            "The customer is one user's, and the metadata names another. Find out whose it is, and correct the wrong one.",
        ),
        _ => None,
    }
}
