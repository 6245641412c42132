package gateway

// CredentialID numbers the MQTT credentials of a household from 1.
type CredentialID int64

// CredentialKind says what a credential is for.
type CredentialKind string

// Kinds of credentials.
const (
	KindDevice CredentialKind = "device" // one device
	KindBridge CredentialKind = "bridge" // many devices behind one client
	KindClient CredentialKind = "client" // another program, such as a hub
)

// Credential is a user name and password for MQTT. The password itself is
// known to its holder only.
type Credential struct {
	ID       CredentialID
	Name     string
	Kind     CredentialKind
	Username string   // unique
	Device   DeviceID // for KindDevice
	Grant    Grant    // for KindBridge and KindClient; a device's follows from its dialect
	Created  Instant
	LastUsed Instant
}

// Grant is what a credential may do, as topic filters.
type Grant struct {
	Publish   []string // topics that it may publish to
	Deny      []string // of these, the ones that it may not
	Subscribe []string // topics that it may read
}

// MayPublish reports whether g allows a PUBLISH to topic.
func (g Grant) MayPublish(topic string) bool {
	return matchAny(g.Publish, topic) && !matchAny(g.Deny, topic)
}

// MayRead reports whether g allows topic to be delivered.
func (g Grant) MayRead(topic string) bool { return matchAny(g.Subscribe, topic) }

// MaySubscribe reports whether g allows a subscription to filter, which is
// so if all that it matches may be read. For a shared subscription
// ($share/group/filter) filter is the part after the group.
func (g Grant) MaySubscribe(filter string) bool {
	for _, f := range g.Subscribe {
		if CoversFilter(f, filter) {
			return true
		}
	}
	return false
}

// matchAny reports whether one of the filters matches topic.
func matchAny(filters []string, topic string) bool {
	for _, f := range filters {
		if MatchTopic(f, topic) {
			return true
		}
	}
	return false
}
