"""librdkafka with its own OIDC login, as a Python program uses it. Prints one JSON document per line of what happens.

    client.py '{"do":"produce","bootstrap":"…","token_url":"…","scope":"kafka","topic":"…","count":10}'

With a count of 0 it goes on until SIGTERM.
"""

import json
import signal
import sys

from confluent_kafka import Consumer, Producer

asked = json.loads(sys.argv[1])
stopping = False


def say(**what):
    print(json.dumps(what), flush=True)


def stop(*_):
    global stopping
    stopping = True


signal.signal(signal.SIGTERM, stop)

settings = {
    "bootstrap.servers": asked["bootstrap"],
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanisms": "OAUTHBEARER",
    "sasl.oauthbearer.method": "oidc",
    "sasl.oauthbearer.token.endpoint.url": asked["token_url"],
    "sasl.oauthbearer.client.id": "orders-app",
    "sasl.oauthbearer.client.secret": asked.get("secret", "s3cret"),
    "sasl.oauthbearer.scope": asked["scope"],
    "error_cb": lambda error: say(error=error.name(), text=error.str()),
}


def produce():
    producer = Producer(settings)
    sent = 0

    def delivered(error, message):
        if error:
            say(failed=message.value().decode(), text=error.str())
        else:
            say(delivered=message.value().decode())

    while not stopping and (asked["count"] == 0 or sent < asked["count"]):
        producer.produce(asked["topic"], f'{{"id":{sent}}}', on_delivery=delivered)
        sent += 1
        # Until the record is there; in a run without end not faster than five times a second.
        producer.flush(60)
        if asked["count"] == 0:
            producer.poll(0.2)
    say(sent=sent, left=producer.flush(60))


def consume():
    consumer = Consumer(settings | {"group.id": asked["group"], "auto.offset.reset": "earliest"})
    consumer.subscribe([asked["topic"]])
    received = 0
    while not stopping and received < asked["count"]:
        message = consumer.poll(0.5)
        if message is None:
            continue
        if message.error():
            say(error=message.error().name(), text=message.error().str())
            continue
        say(received=message.value().decode())
        received += 1
    consumer.close()


{"produce": produce, "consume": consume}[asked["do"]]()
