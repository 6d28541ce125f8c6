"""One client on paho-mqtt, driven by lines of JSON: commands on standard input, events on standard output."""

import json
import os
import ssl
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

lock = threading.Lock()


def say(event, **fields):
    with lock:
        print(json.dumps({"event": event, **fields}), flush=True)


def properties(kind, given):
    if not given or not version5:
        return None
    found = Properties(kind)
    for name, value in given.items():
        setattr(found, name, value.encode() if name == "CorrelationData" else value)
    return found


def on_connect(client, userdata, flags, reason, props):
    say("connected", session_present=flags.session_present, code=reason.value)


def on_message(client, userdata, message):
    seen = {}
    if version5 and message.properties:
        for name in ("ResponseTopic", "CorrelationData"):
            value = getattr(message.properties, name, None)
            if value is not None:
                seen[name] = value.decode() if isinstance(value, bytes) else value
    say("message", topic=message.topic, length=len(message.payload), text=message.payload[:64].decode(),
        qos=message.qos, retain=bool(message.retain), properties=seen)


options = json.loads(sys.stdin.readline())
version5 = options["version"] == 5
arguments = {} if version5 else {"clean_session": options.get("clean", True)}
client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=options["id"],
                     protocol=mqtt.MQTTv5 if version5 else mqtt.MQTTv311,
                     transport=options.get("transport", "tcp"), **arguments)
if options.get("ca"):
    client.tls_set(ca_certs=options["ca"], cert_reqs=ssl.CERT_REQUIRED)
if options.get("transport") == "websockets":
    client.ws_set_options(path="/mqtt")
if options.get("will"):
    client.will_set(options["will"], "gone", qos=1)
client.on_connect = on_connect
client.on_message = on_message
client.on_subscribe = lambda c, u, mid, codes, props: say("subscribed", codes=[code.value for code in codes])
client.on_publish = lambda c, u, mid, code, props: say("published")
client.on_disconnect = lambda c, u, flags, code, props: say("disconnected", code=code.value)
client.connect_async("localhost", options["port"], keepalive=30, **(
    {"clean_start": options.get("clean", True), "properties": properties(
        PacketTypes.CONNECT, None if options.get("clean", True) else {"SessionExpiryInterval": 300})}
    if version5 else {}))
client.loop_start()

for line in sys.stdin:
    command = json.loads(line)
    if command["do"] == "subscribe":
        client.subscribe(command["topic"], qos=command["qos"])
    elif command["do"] == "publish":
        payload = command["text"] * command.get("times", 1)
        client.publish(command["topic"], payload, qos=command["qos"], retain=command.get("retain", False),
                       properties=properties(PacketTypes.PUBLISH, command.get("properties")))
    elif command["do"] == "disconnect":
        client.disconnect()
    elif command["do"] == "vanish":
        os._exit(0)
