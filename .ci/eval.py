#!/usr/bin/env python3
"""Imports recorded households into wattle and works their energy out again.

    eval.py --wattle bin/wattle --data DIR

DIR holds CSV files, compressed or not: series (device,time,power_w) in
folders, and raw Smart* meters below smartstar/YEAR/. Each folder gets a data
directory of its own. Everything is imported twice, first while no gateway
runs and then into one that does: the second time must add nothing. Then each
device's energy, as the REST API tells it, is compared with what is worked out
here, straight from the file, by the same published rule and no shared code:

  - a reading's power holds until the next reading;
  - a pause longer than three usual intervals, and at least 15 minutes, is a
    gap: the reading before it holds for one usual interval, and so does the
    last one;
  - the usual interval is the median of the intervals between readings of the
    same UTC day; a day with fewer than four takes the nearest earlier day's,
    else the nearest later day's.

A file that holds something else must be refused. Prints one table; exits 1
if anything differs. Only Python's standard library is used.
"""

import argparse
import csv
import gzip
import http.client
import io
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import zoneinfo
from datetime import datetime

TOLERANCE = 0.001  # relative
MAX_W = 100_000  # beyond this a value is not believed
EARLIEST = 946_684_800  # 2000-01-01
QUARTER = 900  # s
DAY = 86_400  # s


def open_text(name):
    """Opens a CSV file, compressed or not."""
    if name.endswith(".gz"):
        return io.TextIOWrapper(gzip.open(name, "rb"), encoding="utf-8", newline="")
    return open(name, encoding="utf-8", newline="")


class WallClock:
    """Turns wall-clock times of a zone into Unix seconds.

    A time that is skipped is read with the offset before the gap. One that
    occurs twice is the first, unless the row before was not earlier.
    """

    def __init__(self, zone):
        self.zone = zoneinfo.ZoneInfo(zone)
        self.minutes = {}

    def seconds(self, text, last):
        known = self.minutes.get(text[:16])
        if known is None:
            naive = datetime.fromisoformat(text[:16])
            known = tuple(
                naive.replace(tzinfo=self.zone, fold=f).timestamp() for f in (0, 1)
            )
            # In a gap the second reading goes back and means nothing.
            known = (known[0], max(known))
            self.minutes[text[:16]] = known
        rest = float(text[17:]) if len(text) > 16 else 0.0
        first = known[0] + rest
        return first if first > last else known[1] + rest


def series_rows(name, clock):
    """Yields device, Unix seconds, watts of a series."""
    last = {}
    with open_text(name) as f:
        rows = csv.reader(f)
        next(rows)
        for device, when, watts in rows:
            at = clock.seconds(when, last.get(device, 0))
            last[device] = at
            yield device, at, float(watts)


def smartstar_rows(name, clock):
    """The same of a raw meter; its circuits are called FILE.CIRCUIT."""
    meter = os.path.basename(name).split(".")[0]
    last = 0
    with open_text(name) as f:
        rows = csv.reader(f)
        circuits = [re.sub(r" \[kW\]$", "", c) for c in next(rows)[1:]]
        for row in rows:
            last = clock.seconds(row[0], last)
            for circuit, kw in zip(circuits, row[1:]):
                if kw:
                    yield f"{meter}.{circuit}", last, float(kw) * 1000


class Device:
    """The readings of one device, by instant."""

    def __init__(self):
        self.watts = {}
        self.refused = 0

    def add(self, at, watts):
        if abs(watts) > MAX_W or at < EARLIEST:
            self.refused += 1
        elif at not in self.watts or self.watts[at] < watts:
            self.watts[at] = watts  # of two values for one instant the larger

    def kwh(self):
        """The energy of all readings by the rule above."""
        times = sorted(self.watts)
        by_day = {}
        for a, b in zip(times, times[1:]):
            if a // DAY == b // DAY:
                by_day.setdefault(a // DAY, []).append(b - a)
        usual = {d: statistics.median(v) for d, v in by_day.items() if len(v) >= 4}
        days = sorted({t // DAY for t in times})
        for order in (days, days[::-1]):  # the nearest earlier day, else the nearest later
            nearest = None
            for d in order:
                nearest = usual.get(d, nearest)
                if nearest is not None:
                    usual[d] = nearest
        if not usual:  # no day has enough
            steps = [b - a for a, b in zip(times, times[1:])]
            usual = dict.fromkeys(days, statistics.median(steps) if steps else 0)

        joules = 0.0
        for i, a in enumerate(times):
            step = usual[a // DAY]
            until = times[i + 1] if i + 1 < len(times) else a + step
            if until - a > 3 * step and until - a >= QUARTER:
                until = a + step
            joules += self.watts[a] * (until - a)
        return joules / 3.6e6


class Socket(http.client.HTTPConnection):
    """HTTP over the gateway's Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=120)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def get(sock, path, **query):
    """Asks the gateway, returns the answer's JSON."""
    conn = Socket(sock)
    conn.request("GET", "/api/v1" + path + "?" + urllib.parse.urlencode(query))
    answer = conn.getresponse()
    body = answer.read()
    conn.close()
    if answer.status != 200:
        raise SystemExit(f"GET {path}: {answer.status} {body.decode(errors='replace')}")
    return json.loads(body)


def run_import(wattle, data_dir, zone, files):
    """Imports files; returns what became of each."""
    done = subprocess.run(
        [wattle, "import", "--zone", zone, "--data-dir", data_dir, "--json", *files],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    if done.returncode != 0:
        raise SystemExit(f"importing {' '.join(files)}: exit {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)["files"]


class Gateway:
    """A running `wattle serve` on loopback."""

    def __init__(self, wattle, data_dir):
        self.log = open(os.path.join(data_dir, "log"), "w+")
        self.process = subprocess.Popen(
            [wattle, "serve", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0",
             "--data-dir", data_dir, "--timezone", "UTC"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True,
        )
        if not self.process.stdout.readline():  # it prints a line when ready
            self.stop()
            raise SystemExit("the gateway did not start; its log is above")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.log.seek(0)
        if code != 0:
            sys.stderr.write(self.log.read())
            raise SystemExit(f"the gateway ended with {code}")


def zone_of(cell):
    """The IANA zone that a cell of devices.csv begins with, else UTC."""
    name = re.split(r"[ (]", cell)[0]
    if "/" in name and " or " not in cell:
        try:
            zoneinfo.ZoneInfo(name)
            return name
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            pass
    return "UTC"


def plan(data):
    """Returns groups of files that share a data directory, and other files.

    A group is name, zone, files, and whether they are raw meters.
    """
    zones = {}
    listing = os.path.join(data, "devices.csv")
    if os.path.exists(listing):
        with open_text(listing) as f:
            for row in csv.DictReader(f):
                zones[row["file"]] = zone_of(row["zone"])
    groups, other = {}, []
    for folder, _, names in sorted(os.walk(data)):
        for name in sorted(names):
            path = os.path.join(folder, name)
            if not re.search(r"\.csv(\.gz)?$", name) or path == listing:
                continue
            with open_text(path) as f:
                header = f.readline().strip()
            within = os.path.relpath(path, data)
            if header.startswith("Date & Time,"):
                key, raw = (within.split(os.sep)[0], "America/New_York"), True
            elif header == "device,time,power_w":
                zone = zones.get(within.replace(os.sep, "/"), "UTC")
                key, raw = (os.path.dirname(within) or ".", zone), False
            else:
                other.append(path)
                continue
            groups.setdefault((*key, raw), []).append(path)
    return groups, other


def compare(name, zone, raw, files, wattle, rows):
    """Imports a group twice and appends a row for each device."""
    clock = WallClock(zone)
    devices, count = {}, 0
    for path in files:
        for device, at, watts in (smartstar_rows if raw else series_rows)(path, clock):
            devices.setdefault(device, Device()).add(at, watts)
            count += 1
    stored = sum(len(d.watts) for d in devices.values())
    refused = sum(d.refused for d in devices.values())

    faults = []
    with tempfile.TemporaryDirectory() as data_dir:
        began = time.monotonic()
        first = run_import(wattle, data_dir, zone, files)
        took = time.monotonic() - began
        gateway = Gateway(wattle, data_dir)
        try:
            again = run_import(wattle, data_dir, zone, files)
            for what, got, want in (
                ("added at first", sum(f["added"] for f in first), stored),
                ("rejected at first", sum(f.get("rejected", 0) for f in first), refused),
                ("damaged rows", sum(f["skipped"] for f in first), 0),
                ("added again", sum(f["added"] for f in again), 0),
            ):
                if got != want:
                    faults.append(f"{name}: {what}: {got}, want {want}")
            sock = os.path.join(data_dir, "wattle.sock")
            known = {d["alias"]: d["id"] for d in get(sock, "/devices")}
            if sorted(known) != sorted(devices):
                faults.append(f"{name}: devices are {sorted(known)}, want {sorted(devices)}")
            for alias in sorted(devices.keys() & known.keys()):
                series = get(sock, f"/devices/{known[alias]}/series", step="all",
                             **{"from": "2000-01-01T00:00:00Z", "to": "2030-01-01T00:00:00Z"})
                got = sum(p["energy_kwh"] for p in series["points"])
                want = devices[alias].kwh()
                off = abs(got - want) / abs(want) if abs(want) > 1e-6 else abs(got - want)
                good = off <= TOLERANCE
                if not good:
                    faults.append(f"{name}: {alias}: {got:.4f} kWh, want {want:.4f}")
                rows.append((name, zone, alias, len(devices[alias].watts), got, want, off, good))
        finally:
            gateway.stop()
    print(f"{name} ({zone}): {len(files)} files, {count} values, {stored} stored, "
          f"{refused} refused, imported in {took:.1f} s", flush=True)
    return faults


def main():
    args = argparse.ArgumentParser(description="Energy of recorded households, checked.")
    args.add_argument("--wattle", required=True)
    args.add_argument("--data", required=True)
    args = args.parse_args()
    began = time.monotonic()
    groups, other = plan(args.data)
    if not groups:
        raise SystemExit(f"there are no readings in {args.data}")
    rows, faults = [], []
    for (name, zone, raw), files in groups.items():
        faults += compare(name, zone, raw, files, args.wattle, rows)
    for path in other:
        with tempfile.TemporaryDirectory() as data_dir:
            done = subprocess.run(
                [args.wattle, "import", "--data-dir", data_dir, path],
                stdin=subprocess.DEVNULL, capture_output=True, text=True,
            )
        said = done.stderr.strip()
        if done.returncode != 1 or os.path.basename(path) not in said:
            faults.append(f"{path} holds no readings; import ended with "
                          f"{done.returncode} and said {said!r}")

    print(f"\n{'folder':10} {'device':34} {'readings':>9} {'kWh':>12} {'expected':>12} {'off':>9}")
    for name, _, alias, n, got, want, off, good in rows:
        print(f"{name:10} {alias:34} {n:9} {got:12.3f} {want:12.3f} {off:9.5%}"
              + ("" if good else "  differs"))
    worst = max((r[6] for r in rows), default=0)
    print(f"{len(rows)} devices, {sum(r[3] for r in rows)} readings, worst {worst:.5%}, "
          f"{len(other)} other files, {time.monotonic() - began:.0f} s")
    for f in faults:
        print(f"fault: {f}", file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
