"""Reads chunks as FORMAT.md describes them: one in hex on each line of the
standard input gives lines of device, time, power and counter. One of rollups,
after the word rollup, gives a line for each bucket: device, level, beginning
and the columns."""
import sys


def wrap(v):
    return (v + 2**63) % 2**64 - 2**63


class Bits:
    """Bits of a stream that is read from its end, below its highest set bit."""

    def __init__(self, data):
        self.v = int.from_bytes(data, "little")
        self.left = self.v.bit_length() - 1

    def take(self, n):  # bits before the beginning are 0
        self.left -= n
        v = self.v >> self.left if self.left >= 0 else self.v << -self.left
        return v & ((1 << n) - 1)


def fse_weights(data):
    v, pos = int.from_bytes(data, "little"), 0
    def take(n):
        nonlocal pos
        pos += n
        return v >> (pos - n) & ((1 << n) - 1)
    log = take(4) + 5
    left, probs = (1 << log) + 1, []
    while left > 1:
        bits = left.bit_length()
        low = (1 << bits) - 1 - left
        p = take(bits - 1)
        if p >= low:
            p |= take(1) << (bits - 1)
            if p >= 1 << (bits - 1):
                p -= low
        p -= 1
        left -= abs(p)
        probs.append(p)
        while p == 0:
            more = take(2)
            probs += [0] * more
            p = 0 if more == 3 else 1
    size, table = 1 << log, [None] * (1 << log)
    high = size
    for s, p in enumerate(probs):
        if p == -1:
            high -= 1
            table[high] = s
    at, step = 0, (size >> 1) + (size >> 3) + 3
    for s, p in enumerate(probs):
        for _ in range(max(p, 0)):
            table[at] = s
            at = (at + step) % size
            while at >= high:
                at = (at + step) % size
    seen, states = [abs(p) for p in probs], []
    for s in table:
        bits = log - seen[s].bit_length() + 1
        states.append((s, bits, (seen[s] << bits) - size))
        seen[s] += 1
    b = Bits(data[(pos + 7) // 8:])
    now, other, out = b.take(log), b.take(log), []
    while True:
        s, bits, base = states[now]
        out.append(s)
        now, other = other, base + b.take(bits)
        if b.left < 0:
            return out + [states[now][0]]


def huffman(data, n, four):
    head, data = data[0], data[1:]
    if head < 128:
        weights, data = fse_weights(data[:head]), data[head:]
    else:
        head -= 127
        weights = [data[i // 2] >> (4 - i % 2 * 4) & 15 for i in range(head)]
        data = data[(head + 1) // 2:]
    total = sum(1 << w >> 1 for w in weights)
    log = total.bit_length()
    weights.append(((1 << log) - total).bit_length())
    codes = []
    for w in range(1, log + 1):
        for s in (s for s, x in enumerate(weights) if x == w):
            codes += [(s, log + 1 - w)] * (1 << w >> 1)
    def stream(part, count):
        b, out = Bits(part), []
        for _ in range(count):
            s, bits = codes[b.take(log)]
            b.left += log - bits
            out.append(s)
        return out
    if not four:
        return stream(data, n)
    each, out, at = (n + 3) // 4, [], 6
    for i in range(4):
        end = at + int.from_bytes(data[2 * i:2 * i + 2], "little") if i < 3 else len(data)
        out += stream(data[at:end], each if i < 3 else n - 3 * each)
        at = end
    return out


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        self.at += n
        return self.data[self.at - n:self.at]

    def uvarint(self):
        v = shift = 0
        while True:
            b = self.take(1)[0]
            v |= (b & 127) << shift
            shift += 7
            if b < 128:
                return v

    def varint(self):
        return unzigzag(self.uvarint())

    def column(self, count):
        if count == 0:
            return []
        head = self.take(1)[0]
        mode, low = head & 3, head >> 2
        jump = self.uvarint() if mode == 2 else 0
        base = self.varint()
        lows = int.from_bytes(self.take((count * low + 7) // 8), "little")
        n, how = divmod(self.uvarint(), 4)
        if how < 2:
            tokens = self.take(n) if how == 0 else self.take(1) * n
        else:
            tokens = huffman(self.take(self.uvarint()), n, how == 3)
        res = []
        for t in tokens:
            if t <= 64:
                res += [0] * (t + 1 if t < 64 else 65 + self.uvarint())
            else:
                res.append(unzigzag(t - 64 if t < 255 else 191 + self.uvarint()))
        out, mean = [], wrap(base * 16)
        for i, r in enumerate(res):
            r = wrap((r << low) + (lows >> i * low & ((1 << low) - 1)))
            v = wrap((wrap(mean + 8) >> 4 if mode == 2 else base) + r)
            if mode == 1:
                base = v
            off = wrap(wrap(v * 16) - mean) >> 3
            mean = wrap(v * 16) if not -jump <= r <= jump else wrap(mean + off)
            out.append(v)
        return out


def unzigzag(u):
    return u >> 1 if u % 2 == 0 else -(u + 1) // 2


def read(data):
    r = Reader(data)
    assert r.take(1) == b"\1", "the version"
    device, n, first, _ = r.uvarint(), r.uvarint(), r.varint(), r.uvarint()
    unit, beat = r.uvarint(), r.uvarint()
    beats, at = [0] + [1] * (n - 1), 1
    for _ in range(r.uvarint()):
        at += r.uvarint()
        beats[at] = r.uvarint()
    times, k = [], 0
    for i, x in enumerate(r.column(n)):
        k += beats[i]
        times.append(wrap(first + ((wrap(k * beat) >> 16) + x) * unit))
    fields = []
    while len(fields) < n:
        run = r.uvarint()
        fields += [run & 3] * (run >> 2)
    powers = counters = [None] * n
    if any(f & 1 for f in fields):
        unit_p = r.uvarint()
        values = iter(r.column(sum(f & 1 for f in fields)))
        powers = [wrap(next(values) * unit_p) if f & 1 else None for f in fields]
    if any(f & 2 for f in fields):
        unit_e, how = r.uvarint(), r.take(1)[0]
        rest = r.uvarint() if how & 3 != 3 else 0
        values = iter(r.column(sum(f >> 1 for f in fields)))
        counters, rise, last, full = [], 0, 0, unit_e * 3600000
        for i, f in enumerate(fields):
            p = last if powers[i] is None else powers[i]
            power = (p, last, wrap(p + last) >> 1, 0)[how & 3]
            last = p
            span = 0 if i == 0 else times[i] - times[i - 1]
            if how & 4:
                span = beats[i] * (beat >> 16) * unit
            if how & 3 != 3:
                rest = wrap(rest + wrap(power * span))
                rise += rest // full
                rest %= full
            counters.append(wrap((rise + next(values)) * unit_e) if f & 2 else None)
    return [(device, *row) for row in zip(times, powers, counters)]


def read_rollup(data):
    r = Reader(data)
    assert r.take(1) == b"\1", "the version"
    level, device, at, n, columns = r.take(1)[0], r.uvarint(), r.varint(), r.uvarint(), []
    for _ in range(r.take(1)[0]):
        unit = r.uvarint()
        columns.append([wrap(v * unit) for v in r.column(n)])
    rows = []
    for row in zip(*columns):
        rows.append((device, level, at, *row))
        at = wrap(at + row[0])
    return rows


for line in sys.stdin:
    kind, _, text = line.rpartition(" ")
    for row in (read_rollup if kind == "rollup" else read)(bytes.fromhex(text)):
        print(*("" if v is None else v for v in row), sep=",")
