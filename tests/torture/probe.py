"""Another client of both brands, in a process of its own: sends requests at a steady rate and reports how each was answered.

The arguments are in a JSON document on standard input, which ends at the first newline. The probe stops when standard input is closed,
and prints its samples: kind → list of [start, milliseconds or null, problem or null].
"""

import hashlib
import hmac
import http.client
import json
import secrets
import ssl
import sys
import threading
import time

TIMEOUT_S = 5
DATE = "2026-02-28T15:01:00.000000+03:00"


def notification(key, merchant):
    """A notification of the bank about an order that the shop does not have: verified, queried in the database, answered with 200."""
    order = "torture-" + secrets.token_hex(8)
    signature = hmac.new(key.encode(), f"20|{merchant}|{order}|SUCCESS|{DATE}".encode(), hashlib.sha256).hexdigest()
    body = {
        "transactionId": 1,
        "qrId": "AD1",
        "sbpMerchantId": merchant,
        "merchantId": 1,
        "amount": 20,
        "currency": "RUB",
        "transactionDate": DATE,
        "paymentStatus": "SUCCESS",
        "additionalInfo": None,
        "order": order,
        "createDate": DATE,
    }
    return "POST", "/payments/raiffeisen/notify", json.dumps(body), {"x-api-signature-sha256": signature, "content-type": "text/plain"}


class Sender(threading.Thread):
    def __init__(self, options, kind, samples, stopping):
        super().__init__(daemon=True)
        self.brand, self.what = kind.split(" ", 1)
        self.options, self.samples, self.stopping = options, samples, stopping
        self.context = ssl.create_default_context(cafile=options["ca"])

    def request(self):
        brand = self.options["brands"][self.brand]
        if self.what == "notification":
            return notification(brand["key"], brand["merchant"])
        if self.what == "cart write":
            # A new visitor each time stays below the rate limit per visitor.
            cookie = f"__Host-{self.brand}_visitor={secrets.token_hex(32)}"
            body = json.dumps({"itemID": brand["item"], "quantity": 1})
            return "POST", "/cart", body, {"content-type": "application/json", "cookie": cookie}
        return "GET", {"ping": "/ping", "item": f"/item/{brand['item']}"}[self.what], None, {}

    def run(self):
        port, interval = self.options["brands"][self.brand]["port"], self.options["interval_s"]
        while not self.stopping.is_set():
            method, path, body, headers = self.request()
            started, clock, problem = time.time(), time.monotonic(), None
            connection = http.client.HTTPSConnection(
                "localhost", port, timeout=TIMEOUT_S, context=self.context, source_address=(self.options["source"], 0)
            )
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                response.read()
                if not 200 <= response.status < 300:
                    problem = str(response.status)
            except (OSError, http.client.HTTPException) as error:
                problem = type(error).__name__
            finally:
                connection.close()
            took = time.monotonic() - clock
            self.samples.append([started, None if problem else took * 1000, problem])
            self.stopping.wait(max(0.0, interval - took))


def main():
    options = json.loads(sys.stdin.readline())
    stopping = threading.Event()
    samples = {kind: [] for kind in options["kinds"]}
    senders = [Sender(options, kind, samples[kind], stopping) for kind in options["kinds"]]
    for sender in senders:
        sender.start()
    sys.stdin.read()
    stopping.set()
    for sender in senders:
        sender.join(TIMEOUT_S + 2)
    json.dump(samples, sys.stdout)


main()
