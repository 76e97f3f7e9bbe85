"""What stripe-webhook must take and refuse, by Stripe's own library: it makes the signatures, its types say what the objects of
today are made of and that those of old are made otherwise, and it gives its own opinion of every case.

The input's first line is JSON: {secret, previous, users: [{id, customer}, …]}. Every further line asks for the next case, which
is answered as one line of JSON: {name, header, body, as_base64, status, code}; null after the last one. The body is as Lambda
hands it over, as text or as base64.
"""

import base64
import json
import sys
import time
import uuid

import stripe

SIGNATURE = stripe.WebhookSignature
NOW = int(time.time())
asked = json.loads(sys.stdin.readline())
SECRET, PREVIOUS = asked["secret"], asked["previous"]


def known(kind):
    return {name for one in kind.__mro__ for name in getattr(one, "__annotations__", {})}


def today(kind, **fields):
    """An object with these fields, which all exist in the library's type."""
    unknown = set(fields) - known(kind)
    assert not unknown, f"{kind.__name__} has no {unknown}"
    return fields


def of_old(kind, fields, **removed):
    """The same with fields that the API had before 2025-03-31 and the library no longer knows."""
    kept = set(removed) & known(kind)
    assert not kept, f"{kind.__name__} still has {kept}"
    return {**fields, **removed}


def name(prefix):
    return f"{prefix}_{uuid.uuid4().hex}"


def listed(data):
    return {"object": "list", **today(stripe.ListObject, data=data, has_more=False, url="/v1/some")}


def event(kind, about, version=stripe.api_version, **other):
    fields = {"livemode": False, "object": "event", "pending_webhooks": 1, **other}
    request = today(stripe.Event.Request, id=None, idempotency_key=None)
    data = today(stripe.Event.Data, object=about)
    return today(
        stripe.Event, id=name("evt"), type=kind, created=NOW, api_version=version, data=data, request=request, **fields
    )


def invoice_parts(user, invoice):
    common = dict(amount=1900, currency="usd", id=name("il"), invoice=invoice, livemode=False, metadata={}, quantity=1)
    line = today(stripe.InvoiceLineItem, object="line_item", description="1 × Pro", discountable=True, **common)
    common = dict(amount_due=1900, amount_paid=1900, amount_remaining=0, created=NOW, currency="usd", status="paid")
    about = today(
        stripe.Invoice, id=invoice, object="invoice", customer=user["customer"], billing_reason="subscription_create",
        livemode=False, total=1900, subtotal=1900, **common,
    )
    return line, about


def invoice_today(user):
    details = stripe.InvoiceLineItem.Parent.SubscriptionItemDetails
    item = today(details, proration=False, subscription="sub_1", subscription_item="si_1", invoice_item=None)
    kind = "subscription_item_details"
    parent = today(stripe.InvoiceLineItem.Parent, type=kind, subscription_item_details=item, invoice_item_details=None)
    price = today(stripe.InvoiceLineItem.Pricing.PriceDetails, price="price_pro_monthly", product="prod_1")
    pricing = today(stripe.InvoiceLineItem.Pricing, type="price_details", price_details=price, unit_amount_decimal="1900")
    line, about = invoice_parts(user, name("in"))
    line |= today(stripe.InvoiceLineItem, parent=parent, pricing=pricing, taxes=[])
    details = stripe.Invoice.Parent.SubscriptionDetails
    details = today(details, subscription="sub_1", metadata={"user_id": user["id"]})
    parent = today(stripe.Invoice.Parent, type="subscription_details", subscription_details=details, quote_details=None)
    about |= today(stripe.Invoice, parent=parent, lines=listed([line]))
    return event("invoice.paid", about)


def invoice_of_old(user):
    price = today(stripe.Price, id="price_pro_monthly", object="price", active=True, currency="usd", unit_amount=1900)
    line, about = invoice_parts(user, name("in"))
    line = of_old(stripe.InvoiceLineItem, line, type="subscription", price=price, plan=None, proration=False)
    about |= today(stripe.Invoice, lines=listed([line]))
    about = of_old(
        stripe.Invoice, about, subscription="sub_1", subscription_details={"metadata": {"user_id": user["id"]}},
        payment_intent="pi_1", charge="ch_1", paid=True, paid_out_of_band=False, tax=None, discount=None,
    )
    return event("invoice.paid", about, "2024-06-20")


def pack(user):
    metadata = {"user_id": user["id"], "pack_id": "small", "credits": "10"}
    about = today(
        stripe.checkout.Session, id=name("cs_test"), object="checkout.session", mode="payment", status="complete",
        payment_status="paid", customer=user["customer"], client_reference_id=user["id"], metadata=metadata,
        payment_intent=name("pi"), subscription=None, invoice=None, amount_total=900, amount_subtotal=900, currency="usd",
        livemode=False, created=NOW, expires_at=NOW + 86400, url=None,
    )
    return event("checkout.session.completed", about)


def subscription(user, of_today):
    price = today(stripe.Price, id="price_pro_monthly", object="price", active=True, currency="usd", unit_amount=1900)
    item = today(stripe.SubscriptionItem, id=name("si"), object="subscription_item", price=price, quantity=1)
    period = {"current_period_start": NOW, "current_period_end": NOW + 30 * 86400}
    if of_today:
        item |= today(stripe.SubscriptionItem, **period)
    about = today(
        stripe.Subscription, id=name("sub"), object="subscription", customer=user["customer"], status="active",
        items=listed([item]), cancel_at_period_end=False, cancel_at=None, canceled_at=None, ended_at=None, metadata={},
        created=NOW, livemode=False, currency="usd",
    )
    if of_today:
        return event("customer.subscription.updated", about)
    return event("customer.subscription.updated", of_old(stripe.Subscription, about, **period), "2024-06-20")


def money_back(user):
    charge = today(
        stripe.Charge, id=name("ch"), object="charge", amount=1900, amount_refunded=900, refunded=False, currency="usd",
        customer=user["customer"], payment_intent=name("pi"), paid=True, livemode=False, created=NOW, metadata={},
    )
    refund = today(
        stripe.Refund, id=name("re"), object="refund", amount=900, charge=charge["id"], currency="usd", created=NOW,
        payment_intent=charge["payment_intent"], status="succeeded", metadata={},
    )
    dispute = today(
        stripe.Dispute, id=name("du"), object="dispute", amount=1900, charge=charge["id"], currency="usd", created=NOW,
        payment_intent=charge["payment_intent"], status="needs_response", reason="fraudulent", livemode=False, metadata={},
    )
    of_old_charge = of_old(stripe.Charge, charge, invoice=name("in"))
    yield "a refunded charge", event("charge.refunded", charge)
    yield "a refunded charge of old", event("charge.refunded", of_old_charge, "2024-06-20")
    yield "a refund", event("refund.created", refund)
    yield "a dispute", event("charge.dispute.created", dispute)


def compact(about):
    return json.dumps(about, separators=(",", ":"))


def signed(body, secret=SECRET, age=0):
    return SIGNATURE.generate_signature_header(body, secret, int(time.time()) - age)


def v1(header):
    return header.split(",")[1]


def library_takes(body, header):
    """Whether the library takes it by one of the secrets; raises where it is no event for webhooks of this kind."""
    for secret in (SECRET, PREVIOUS):
        try:
            return stripe.Webhook.construct_event(body, header, secret)
        except stripe.SignatureVerificationError:
            continue
    return None


def case(what, header, body, status=200, code="", as_base64=False):
    return dict(name=what, header=header, body=body, status=status, code=code, as_base64=as_base64)


def cases():
    one, other, third = asked["users"]

    # Payloads. Stripe writes them with line breaks and two blanks, as the library prints its objects.
    for what, about in [
        ("an invoice of today", invoice_today(one)),
        ("an invoice of old", invoice_of_old(other)),
        ("a pack", pack(third)),
        ("a subscription of today", subscription(one, True)),
        ("a subscription of old", subscription(other, False)),
        *money_back(one),
    ]:
        body = str(stripe.Event.construct_from(about, None))
        yield case(what, signed(body), body)

    # Signatures.
    product = today(stripe.Product, id="prod_1", object="product", name="Pro – 20 credits ✓", active=True, livemode=False)
    body = compact(event("product.created", product))
    good, old, wrong = signed(body), signed(body, PREVIOUS), signed(body, "whsec_wrong")
    t = good.split(",")[0]
    bad = v1(wrong)
    yield case("one v1", good, body)
    yield case("several v1, the last right", f"{t},{bad},v1=00,{v1(good)}", body)
    yield case("several v1, the first right", f"{good},{bad}", body)
    yield case("signed by both secrets", f"{good},{v1(old)}", body)
    yield case("signed by the earlier secret", old, body)
    yield case("v0 beside v1", f"{t},v0={'0' * 64},{v1(good)}", body)
    yield case("v0 behind v1", f"{good},v0={'0' * 64}", body)
    yield case("as base64", good, body, as_base64=True)
    spaced = json.dumps(event("product.created", product), indent=2, ensure_ascii=False) + "\n"
    yield case("with line breaks, blanks and letters beyond ASCII", signed(spaced), spaced)
    yield case("the same as base64", signed(spaced), spaced, as_base64=True)
    yield case("290 s old", signed(body, age=290), body)

    refused = dict(status=401, code="unauthenticated")
    yield case("301 s old", signed(body, age=301), body, **refused)
    yield case("a wrong secret", wrong, body, **refused)
    yield case("one byte changed", good, body.replace("created", "creased", 1), **refused)
    yield case("one byte more", good, body + " ", **refused)
    yield case("written otherwise", good, json.dumps(json.loads(body), indent=2), **refused)
    yield case("another time", good.replace(t, f"t={int(t[2:]) - 1}"), body, **refused)
    yield case("only v0", good.replace("v1=", "v0="), body, **refused)
    yield case("v2", good.replace("v1=", "v2="), body, **refused)
    yield case("no time", v1(good), body, **refused)
    yield case("no signature", t, body, **refused)
    yield case("an empty header", "", body, **refused)
    yield case("no header", None, body, **refused)
    yield case("no header's shape", "garbage", body, **refused)

    # Signed, and still not for us.
    live = compact(event("product.created", product, livemode=True))
    yield case("a live event", signed(live), live, 400, "wrong_mode")
    thin = {
        "id": name("evt"), "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered", "livemode": False,
        "created": "2026-11-21T12:00:00.000Z", "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/some"},
    }
    yield case("a thin event", signed(compact(thin)), compact(thin), 400, "thin_event")
    yield case("nothing", signed(""), "", 400, "not_an_event")


def checked(one):
    """The library has the same opinion."""
    thin = False
    try:
        taken = library_takes(one["body"], one["header"])
    except ValueError:
        taken, thin = None, True
    if one["status"] == 200:
        assert taken and taken.id == json.loads(one["body"])["id"], one["name"]
        assert type(taken.data.object) is not stripe.StripeObject, one["name"]
    elif one["status"] == 401:
        assert taken is None and not thin, one["name"]
    elif one["code"] == "wrong_mode":
        assert taken and taken.livemode, one["name"]
    else:
        assert thin, one["name"]
    if one["as_base64"]:
        one["body"] = base64.b64encode(one["body"].encode()).decode()
    return one


for _, one in zip(sys.stdin, cases()):
    print(json.dumps(checked(one)), flush=True)
print("null", flush=True)
