package dialect

import (
	"bytes"
	"strings"
)

// Guess names the dialect of a message by its MQTT client id, its topic and
// its payload, in this order of trust; the client id may be empty. It rather
// says nothing than something wrong: ok is false where a family that is not in
// the table talks alike.
func Guess(clientID, topic string, payload []byte) (d Dialect, ok bool) {
	if nativeRow.Matches(topic) {
		return nativeRow, true
	}
	if strings.HasPrefix(clientID, "DVES_") && tasmotaRow.Names(topic) != nil {
		return tasmotaRow, true
	}
	if tasmotaRow.Matches(topic) {
		// OpenBeken sends the same topic with another unit.
		if bytes.Contains(payload, []byte(`"ConsumptionTotal"`)) {
			return Dialect{}, false
		}
		return tasmotaRow, true
	}
	if !shellyRow.Matches(topic) {
		// The first generation has ids like these as well, but other topics.
		return Dialect{}, false
	}
	switch {
	case strings.HasSuffix(topic, "/online"):
		ok = string(payload) == "true" || string(payload) == "false"
	case strings.HasSuffix(topic, "/announce"):
		ok = bytes.Contains(payload, []byte(`"gen"`))
	case strings.HasSuffix(topic, "/rpc"):
		ok = bytes.Contains(payload, []byte(`"src"`)) || bytes.Contains(payload, []byte(`"method"`))
	default:
		ok = true
	}
	if !ok {
		return Dialect{}, false
	}
	return shellyRow, true
}
