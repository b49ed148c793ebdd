"""A stand-in for Stripe's HTTP interface: payment intents and refunds, idempotent replays, declines and silences."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Answer = tuple[int, dict[str, Any]]


def refused(status: int, kind: str, message: str, **more: str) -> Answer:
    return status, {"error": {"type": kind, "message": message, **more}}


@dataclass
class StandIn:
    """What it holds; `silent` keys are carried out but not answered, `deaf` ones not even carried out."""

    url: str = ""
    intents: dict[str, dict[str, Any]] = field(default_factory=dict)
    refunds: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[str, tuple[str, Answer]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    deaf: set[str] = field(default_factory=set)
    in_flight: set[str] = field(default_factory=set)
    page: int = 2
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        key = request.headers.get("Idempotency-Key")
        self.requests.append((request.method, request.path, key))
        if request.headers.get("Authorization") != "Bearer sk_test":
            return reply(refused(401, "invalid_request_error", "Invalid API Key"))
        if request.method == "GET":
            return reply(self.read(request))
        assert key is not None, "every POST carries an idempotency key"
        if key in self.in_flight:
            return reply(refused(409, "idempotency_error", "in use", code="idempotency_key_in_use"))
        if key not in self.deaf:
            answer = self.once(key, request.path, form)
        if key in self.deaf | self.silent:
            await asyncio.sleep(60)
        return reply(answer)

    def once(self, key: str, path: str, form: dict[str, Any]) -> Answer:
        wanted = json.dumps([path, form], sort_keys=True)
        if key not in self.answers:
            self.answers[key] = (wanted, self.write(path.removeprefix("/v1/").split("/"), form))
        known, answer = self.answers[key]
        return answer if known == wanted else refused(400, "idempotency_error", "Keys for idempotent requests …")

    def write(self, path: list[str], form: dict[str, Any]) -> Answer:
        if path == ["payment_intents"]:
            return self.create(form)
        if path == ["refunds"]:
            return self.refund(form)
        _, name, verb = path
        intent = self.intents[name]
        if intent["status"] != "requires_capture":
            return refused(400, "invalid_request_error", f"This PaymentIntent is {intent['status']}.")
        if verb == "cancel":
            intent["status"] = "canceled"
        else:
            intent |= {"status": "succeeded", "amount_received": int(form.get("amount_to_capture", intent["amount"]))}
        return 200, intent

    def create(self, form: dict[str, Any]) -> Answer:
        assert form["confirm"] == "true"
        is_declined = form["payment_method"] == "pm_card_chargeDeclined"
        is_kept = form["capture_method"] == "manual"
        name = f"pi_{len(self.intents) + 1}"
        intent = {
            "id": name, "object": "payment_intent", "amount": int(form["amount"]), "currency": form["currency"],
            "status": "requires_payment_method" if is_declined else "requires_capture" if is_kept else "succeeded",
            "amount_received": 0 if is_declined or is_kept else int(form["amount"]), "created": int(time.time()),
            "capture_method": form["capture_method"], "latest_charge": None if is_declined else f"ch_{name}",
            "metadata": {key[9:-1]: value for key, value in form.items() if key.startswith("metadata[")},
        }  # fmt: skip
        self.intents[name] = intent
        if is_declined:
            return refused(402, "card_error", "Your card was declined.", code="card_declined")
        return 200, intent

    def refund(self, form: dict[str, Any]) -> Answer:
        intent, amount = self.intents[form["payment_intent"]], int(form["amount"])
        given = sum(each["amount"] for each in self.refunds.values() if each["payment_intent"] == intent["id"])
        if given + amount > intent["amount_received"]:
            return refused(400, "invalid_request_error", "Refund amount is greater than unrefunded amount on charge")
        name = f"re_{len(self.refunds) + 1}"
        self.refunds[name] = {
            "id": name, "object": "refund", "amount": amount, "currency": intent["currency"], "status": "succeeded",
            "payment_intent": intent["id"], "created": int(time.time()),
            "metadata": {key[9:-1]: value for key, value in form.items() if key.startswith("metadata[")},
        }  # fmt: skip
        return 200, self.refunds[name]

    def read(self, request: web.Request) -> Answer:
        path = request.path.removeprefix("/v1/").split("/")
        if len(path) == 2:
            return 200, self.intents[path[1]]
        found = list(self.intents.values() if path == ["payment_intents"] else self.refunds.values())[::-1]
        if "created[gte]" in request.query:
            gte, lte = int(request.query["created[gte]"]), int(request.query["created[lte]"])
            found = [each for each in found if gte <= each["created"] <= lte]
        if after := request.query.get("starting_after"):
            found = found[[each["id"] for each in found].index(after) + 1 :]
        shown = found[: self.page]
        return 200, {"object": "list", "url": request.path, "has_more": len(found) > len(shown), "data": shown}


def reply(answer: Answer) -> web.Response:
    return web.json_response(answer[1], status=answer[0], headers={"Stripe-Should-Retry": "false"})


@asynccontextmanager
async def stand_in() -> AsyncGenerator[StandIn]:
    """Serve on a free port."""
    server = StandIn()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        server.url = f"http://{host}:{port}"
        yield server
    finally:
        await runner.cleanup()
