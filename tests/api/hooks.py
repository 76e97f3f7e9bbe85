"""Who calls, for schemathesis: people who signed up at the local stack, and n8n, Stripe and Replicate by their signatures. What is
excepted from its checks, and why, is here and in schemathesis.toml."""

import base64
import hashlib
import hmac
import os
import re
import time
import uuid

import requests
import schemathesis
from schemathesis.core.parameters import ParameterLocation

API = os.environ["FUNCTIONS_URL"]
PATIENCE_SECONDS = 60


# Presets that every stack has.
OFFERED = {"model_preset": "fashion_model_v1", "pose_preset": "standing", "scene_preset": "studio", "generation_type": "standard"}


class Person(requests.auth.AuthBase):
    """Somebody who signed up through the front door, and her requests."""

    def __init__(self, name):
        self.email = f"{name}-{uuid.uuid4()}@example.com"
        credentials = {"email": self.email, "password": "correct horse battery 9"}
        self._at_auth("signup", credentials)
        inbox = f"{os.environ['SANDBOX_URL']}/inbox.json"
        mails = eventually("the mail", lambda: requests.get(inbox, params={"to": self.email}, timeout=10).json()["mails"])
        requests.get(mails[0]["links"][0], allow_redirects=False, timeout=10)
        session = self._at_auth("token?grant_type=password", credentials)
        self.id, self.token = session["user"]["id"], session["access_token"]

    def __call__(self, request):
        request.headers["authorization"] = f"Bearer {self.token}"
        return request

    def asks(self, method, path, body=None):
        answer = requests.request(method, API + path, json=body, auth=self, timeout=30)
        answer.raise_for_status()
        return answer.json()

    @staticmethod
    def _at_auth(path, body):
        key = {"apikey": os.environ["SUPABASE_PUBLISHABLE_KEY"]}
        answer = requests.post(f"{os.environ['SUPABASE_URL']}/auth/v1/{path}", json=body, headers=key, timeout=30)
        answer.raise_for_status()
        return answer.json()


def eventually(what, ask):
    """Asks until there is an answer."""
    late = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < late:
        if found := ask():
            return found
        time.sleep(0.1)
    raise TimeoutError(f"{what} never came")


def sandbox_fails(fault, only):
    body = {"fault": fault, "only": only}
    requests.put(f"{os.environ['SANDBOX_URL']}/sandbox/next", json=body, timeout=10).raise_for_status()


def resident():
    """Somebody who has all that one can have: a character, pictures in the grid, one that failed, a customer at Stripe. And she is
    an admin."""
    person = Person("resident")
    person.asks("POST", "/influencers", {"name": "Clara", "bio": "A 29 year old architect from Lisbon.", "vibe": "calm"})
    key = os.environ["SUPABASE_SECRET_KEY"]
    role = {"user_id": person.id, "role": "admin"}
    made = requests.post(f"{os.environ['SUPABASE_URL']}/rest/v1/user_roles", json=role, headers={"apikey": key}, timeout=10)
    made.raise_for_status()
    person.asks("POST", "/checkout-sessions", {"pack_id": "small"})

    def ask(prompt):
        return person.asks("POST", "/generation-jobs", {"prompt": prompt, **OFFERED})["job_id"]

    def end(job):
        def look():
            seen = person.asks("GET", f"/generation-jobs/{job}")
            return seen if seen["status"] in ("completed", "failed", "cancelled") else None

        return eventually("the picture", look)

    sandbox_fails("replicate_fails", "A coat in the rain")
    *done, failed = [end(job) for job in [*(ask(f"A red dress, {n}") for n in range(3)), ask("A coat in the rain")]]
    assert [job["status"] for job in [*done, failed]] == ["completed"] * 3 + ["failed"], (done, failed)
    person.jobs = [done[0]["id"], failed["id"]]
    # One for each thing that is done to pictures, so that none is in another's way.
    person.images = dict(zip(("published", "hidden", "others"), [job["image"]["id"] for job in done]))
    for image in person.images.values():
        person.asks("PUT", f"/images/{image}/published")
    eventually("her character", lambda: person.asks("GET", "/dashboard")["influencer"]["state"] == "ready")
    return person


def newcomer():
    """Somebody of whose character n8n has taken the order and says nothing: the callback is for us to send."""
    person = Person("newcomer")
    name = f"Nora {person.id[:8]}"
    sandbox_fails("n8n_silent", name)
    her = person.asks("POST", "/influencers", {"name": name, "bio": "An architect.", "vibe": "calm"})
    person.influencer = her["influencer"]["id"]
    return person


RESIDENT = resident()
NEWCOMER = newcomer()


def signed(secret, text):
    return hmac.new(secret, text, hashlib.sha256)


def body_of(request):
    body = request.body or b""
    return body.encode() if isinstance(body, str) else body


class TimedSignature(requests.auth.AuthBase):
    """`t=…,v1=…`, as Stripe signs, and who calls back without a token."""

    def __init__(self, header, secret):
        self.header, self.secret = header, os.environ[secret].encode()

    def __call__(self, request):
        now = str(int(time.time()))
        request.headers[self.header] = f"t={now},v1={signed(self.secret, now.encode() + b'.' + body_of(request)).hexdigest()}"
        return request


class StandardWebhook(requests.auth.AuthBase):
    """`v1,…` over id, time and body, as Replicate signs. A header that a case leaves out stays out."""

    def __call__(self, request):
        secret = base64.b64decode(os.environ["REPLICATE_WEBHOOK_SECRET"].removeprefix("whsec_"))
        if "webhook-timestamp" in request.headers:
            request.headers["webhook-timestamp"] = str(int(time.time()))
        parts = [request.headers.get(name, "") for name in ("webhook-id", "webhook-timestamp")]
        parts = [part.encode("latin-1") if isinstance(part, str) else part for part in parts]
        signature = signed(secret, b".".join([*parts, body_of(request)])).digest()
        request.headers["webhook-signature"] = f"v1,{base64.b64encode(signature).decode()}"
        return request


URLS = {
    "/lambda-url/n8n-callback/": TimedSignature("X-Signature", "CALLBACK_HMAC_SECRET"),
    "/lambda-url/stripe-webhook/": TimedSignature("Stripe-Signature", "STRIPE_WEBHOOK_SECRET"),
    "/lambda-url/replicate-webhook/": StandardWebhook(),
}
for path, signature in URLS.items():
    schemathesis.auth.set_from_requests(signature).apply_to(path=path)
# Who leaves is somebody whom nobody else needs.
schemathesis.auth.set_from_requests(Person("leaver")).apply_to(path="/me")
schemathesis.auth.set_from_requests(RESIDENT).skip_for(path=[*URLS, "/me"])


def is_id(text):
    try:
        return str(uuid.UUID(text)) == text
    except (AttributeError, TypeError, ValueError):
        return False


@schemathesis.hook
def before_call(context, case, kwargs):
    """What nobody guesses is put in for what was thrown, so that not all ends at the first "no": ids of what is there for half of
    the ids, presets that are offered, texts without control characters."""
    thrown = (case.path_parameters or {}).get("id")
    if is_id(thrown) and thrown[-1] < "8":
        known = RESIDENT.images.get(case.path.rsplit("/", 1)[1], RESIDENT.images["others"])
        if "/generation-jobs/" in case.path:
            known = RESIDENT.jobs[int(thrown[-1], 16) % 2]
        case.path_parameters["id"] = known
    if not isinstance(case.body, dict):
        return
    positive = case.meta and case.meta.generation.mode.is_positive
    if positive:
        # To JSON Schema 1.0 is an integer. To serde it is none, and no client of ours writes it.
        case.body.update({name: int(value) for name, value in case.body.items() if isinstance(value, float) and value.is_integer()})
    if case.path == "/lambda-url/n8n-callback/" and is_id(case.body.get("influencer_id")):
        case.body["influencer_id"] = NEWCOMER.influencer
    if positive and case.path not in URLS:
        for name, value in case.body.items():
            if isinstance(value, str):
                case.body[name] = OFFERED.get(name) or re.sub(r"[\x00-\x1f\x7f-\x9f]", "-", value)


# Codes for what a schema cannot say, and so for answers that a request by the schema may get.
BEYOND_A_SCHEMA = {
    # Texts are trimmed and composed before they are counted, and looked at for control characters and for minors.
    "control_characters", "describes_minor", "too_short",
    # What is offered, whose it is, which pages are ours, what a cursor holds, what she can pay.
    "unknown", "not_allowed", "invalid", "insufficient_credits",
    # A live event at a test stage.
    "wrong_mode",
}


def codes_of(problem):
    return {problem["code"]} - {"invalid_fields"} | {error["code"] for error in problem.get("errors", [])}


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """What schemathesis expects and our contract does not promise."""
    at_url = case.path in URLS
    match type(failure).__name__:
        case "UnsupportedMethodResponse":
            # Where no route has a method, HTTP APIs of AWS answer 404 and their own JSON, not 405. Function URLs take any method.
            return not (at_url or (response.status_code == 404 and response.json() == {"message": "Not Found"}))
        case "RejectedPositiveData":
            return not codes_of(response.json()) <= BEYOND_A_SCHEMA
        case "AcceptedNegativeData":
            # A case that leaves the signature out is signed all the same; `ignored_auth` sends it without. Queries are not looked at.
            negative = {location for location in ParameterLocation if case.meta.is_negative_at(location)}
            return not (at_url and negative <= {ParameterLocation.HEADER, ParameterLocation.QUERY})
        case "ServerError":
            # Of our own making and documented: what is no event that we can read is kept, and Stripe is to send it again.
            return not (at_url and response.json().get("code") == "unreadable_event")
    return True
