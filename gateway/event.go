package gateway

// Event is something that a person may want to know later.
type Event struct {
	ID     int64
	At     Instant
	Kind   EventKind
	Device DeviceID // 0 for the household
	Source Source
	Text   string // one line for people
}

// EventKind names what happened.
type EventKind string

// Kinds of events.
const (
	EventSwitched       EventKind = "switched"        // a device's state changed
	EventCommandFailed  EventKind = "command_failed"  // a command got no confirmation
	EventDeviceAdded    EventKind = "device_added"    //
	EventDeviceChanged  EventKind = "device_changed"  //
	EventDeviceRemoved  EventKind = "device_removed"  //
	EventScheduleSet    EventKind = "schedule_set"    //
	EventOnline         EventKind = "online"          // a device came
	EventOffline        EventKind = "offline"         // a device went
	EventStartup        EventKind = "startup"         // household startup was asked for
	EventShutdown       EventKind = "shutdown"        // household shutdown was asked for
	EventStoreFailing   EventKind = "store_failing"   // readings cannot be stored
	EventStoreRecovered EventKind = "store_recovered" // readings are stored again
	EventLogin          EventKind = "login"           //
	EventSecurity       EventKind = "security"        // who may do what was changed
	EventImported       EventKind = "imported"        // a file of readings was taken in
	EventThinning       EventKind = "thinning"        // readings will be deleted, their sums stay
	EventDamaged        EventKind = "damaged"         // what the disk holds was found damaged
)
