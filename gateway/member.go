package gateway

// Role is what a member or a token may do.
type Role string

// Roles, from the least to the most: a viewer reads, a member also controls,
// an owner also changes the household.
const (
	RoleViewer Role = "viewer"
	RoleMember Role = "member"
	RoleOwner  Role = "owner"
)

// Valid reports whether r is one of the roles.
func (r Role) Valid() bool { return r.rank() > 0 }

// Allows reports whether a holder of r may do what needs the role need.
func (r Role) Allows(need Role) bool { return r.rank() >= need.rank() && r.rank() > 0 }

func (r Role) rank() int {
	switch r {
	case RoleViewer:
		return 1
	case RoleMember:
		return 2
	case RoleOwner:
		return 3
	}
	return 0
}

// Member is a person with a login.
type Member struct {
	ID      MemberID
	Name    string // the login, also the last level of the member's broadcast channel
	Role    Role
	Created Instant
}

// Token is a key for programs. The key itself is known to its holder only.
type Token struct {
	ID       int64
	Name     string
	Member   MemberID // who made it; 0 for the CLI before there is an owner
	Role     Role     // its scope: viewer reads, member controls, owner administers
	Created  Instant
	Expires  Instant // 0: never
	LastUsed Instant
}
