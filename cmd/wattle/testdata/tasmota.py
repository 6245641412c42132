"""A Tasmota plug played with paho: says that it is there, reports a reading,
obeys one command, tells the new state and ends.

Usage: tasmota.py HOST PORT USER PASSWORD TOPIC
"""

import json
import sys

import paho.mqtt.client as mqtt

host, port, user, password, topic = sys.argv[1:6]


def on_connect(client, _data, _flags, code):
    if code != 0:
        sys.exit(f"refused: {code}")
    client.subscribe(f"cmnd/{topic}/#", qos=1)


def on_subscribe(client, _data, _mid, granted):
    if list(granted) != [1]:
        sys.exit(f"subscription refused: {granted}")
    client.publish(f"tele/{topic}/LWT", "Online", qos=1, retain=True)
    energy = {"Total": 12.345, "Power": 61, "Voltage": 230, "Current": 0.3}
    client.publish(f"tele/{topic}/SENSOR",
                   json.dumps({"Time": "2026-11-25T12:00:00", "ENERGY": energy}), qos=1)


def on_message(client, _data, message):
    print(message.topic, message.payload.decode(), "retained" if message.retain else "fresh", flush=True)
    client.publish(f"stat/{topic}/RESULT", json.dumps({"POWER": message.payload.decode()}), qos=1)


def on_publish(client, _data, mid):
    if mid >= 4:  # subscribe 1, LWT 2, SENSOR 3, RESULT 4
        client.disconnect()


client = mqtt.Client(client_id="DVES_49A3BC")
client.username_pw_set(user, password)
client.will_set(f"tele/{topic}/LWT", "Offline", qos=1, retain=True)
client.on_connect, client.on_subscribe = on_connect, on_subscribe
client.on_message, client.on_publish = on_message, on_publish
client.connect(host, int(port), keepalive=30)
client.loop_forever()
