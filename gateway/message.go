package gateway

import "strings"

// Message is one MQTT message: to a device, or from a client that was allowed
// to publish it.
type Message struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool

	// Expires, if not 0, is when the message is worthless: it is not delivered
	// later, and a device that did not acknowledge it by then is disconnected.
	Expires Instant

	// Of a message from a client.
	Client Client
	At     Instant // arrival
	Will   bool    // published for a client that went away
}

// Client is who is connected: a credential and the client id that it chose.
type Client struct {
	Credential CredentialID
	Kind       CredentialKind
	Device     DeviceID // for KindDevice
	Name       string   // the credential's name, for people
	ID         string   // the MQTT client id, as the client gave it
}

// ValidTopic reports whether name can be published to: not empty, no
// wildcard, no NUL, valid UTF-8 is the caller's matter.
func ValidTopic(name string) bool {
	return name != "" && len(name) <= 65535 && !strings.ContainsAny(name, "+#\x00")
}

// ValidFilter reports whether filter is a topic filter: wildcards stand
// alone in their level and # is the last one.
func ValidFilter(filter string) bool {
	if filter == "" || len(filter) > 65535 || strings.ContainsRune(filter, 0) {
		return false
	}
	for filter != "" {
		level, rest, more := strings.Cut(filter, "/")
		if strings.ContainsAny(level, "+#") && len(level) != 1 {
			return false
		}
		if level == "#" && more {
			return false
		}
		filter = rest
	}
	return true
}

// MatchTopic reports whether the topic filter matches the topic name. As MQTT
// says, a wildcard in the first level does not match names that begin with $
// [MQTT-4.7.2-1].
func MatchTopic(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && (strings.HasPrefix(filter, "+") ||
		strings.HasPrefix(filter, "#")) {
		return false
	}
	return coversLevels(filter, topic, false)
}

// CoversFilter reports whether every topic that the filter asked matches is
// also matched by the filter granted.
func CoversFilter(granted, asked string) bool {
	if strings.HasPrefix(asked, "$") != strings.HasPrefix(granted, "$") {
		return false
	}
	return coversLevels(granted, asked, true)
}

// FiltersMeet reports whether some topic may match both filters.
func FiltersMeet(a, b string) bool {
	for {
		la, ra, moreA := strings.Cut(a, "/")
		lb, rb, moreB := strings.Cut(b, "/")
		switch {
		case la == "#" || lb == "#":
			return true
		case la != lb && la != "+" && lb != "+":
			return false
		case !moreA && !moreB:
			return true
		case !moreA:
			return rb == "#"
		case !moreB:
			return ra == "#"
		}
		a, b = ra, rb
	}
}

// coversLevels walks both level by level; wild says that b may hold wildcards,
// which only a wildcard of a covers.
func coversLevels(a, b string, wild bool) bool {
	for {
		la, ra, moreA := strings.Cut(a, "/")
		if la == "#" {
			return true
		}
		lb, rb, moreB := strings.Cut(b, "/")
		switch {
		case wild && lb == "#":
			return false
		case la == "+":
		case la != lb || wild && lb == "+":
			return false
		}
		if !moreA || !moreB {
			// "a/#" also matches "a".
			return moreA == moreB || moreA && ra == "#"
		}
		a, b = ra, rb
	}
}

// Retained is a message that the broker keeps for those who subscribe later.
// An empty payload means that it is to be forgotten.
type Retained struct {
	Topic      string
	Payload    []byte
	QoS        byte
	Credential CredentialID // who published it; 0 for the gateway
	At         Instant
}
