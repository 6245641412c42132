package api

import (
	_ "embed"
	"net/http"
	"strings"

	"github.com/gorilla/mux"

	"github.com/wattle-home/wattle/gateway"
)

// base is the path under which the API stands.
const base = "/api/v1"

// handlerFunc answers a request or returns why it does not.
type handlerFunc func(w http.ResponseWriter, r *http.Request) error

// route is one operation: who may call it, and what it is called in
// openapi.json. An empty role is open to everyone.
type route struct {
	method, path string
	need         gateway.Role
	operation    string
	handle       handlerFunc
}

// open marks an operation that needs no credentials.
const open gateway.Role = ""

// Roles, short for the table.
const (
	viewer = gateway.RoleViewer
	member = gateway.RoleMember
	owner  = gateway.RoleOwner
)

// routes is the table of contents of the API.
func (s *Server) routes() []route {
	return []route{
		{"GET", "/openapi.json", viewer, "getOpenAPI", s.getOpenAPI},
		{"POST", "/login", open, "login", s.login},
		{"POST", "/logout", open, "logout", s.logout},
		{"GET", "/session", viewer, "getSession", s.getSession},
		{"GET", "/household", viewer, "getHousehold", s.getHousehold},
		{"POST", "/household/startup", member, "globalStartup", s.globalStartup},
		{"POST", "/household/shutdown", member, "globalShutdown", s.globalShutdown},

		{"GET", "/devices", viewer, "getDevices", s.getDevices},
		{"POST", "/devices", owner, "addDevice", s.addDevice},
		{"GET", "/devices/{id}", viewer, "getDevice", s.getDevice},
		{"PATCH", "/devices/{id}", owner, "updateDevice", s.updateDevice},
		{"DELETE", "/devices/{id}", owner, "deleteDevice", s.deleteDevice},
		{"POST", "/devices/{id}/credential", owner, "renewDeviceCredential", s.renewDeviceCredential},
		{"GET", "/devices/{id}/readings", viewer, "getDeviceData", s.getDeviceData},
		{"POST", "/devices/{id}/readings", owner, "addDeviceData", s.addDeviceData},
		{"GET", "/devices/{id}/series", viewer, "getDeviceSeries", s.getDeviceSeries},
		{"GET", "/series", viewer, "getSeries", s.getSeries},

		{"POST", "/devices/{id}/commands", member, "commandDevice", s.commandDevice},
		{"GET", "/commands/{id}", viewer, "getCommand", s.getCommand},
		{"GET", "/devices/{id}/schedule", viewer, "getSchedule", s.getSchedule},
		{"PUT", "/devices/{id}/schedule", member, "setSchedule", s.setSchedule},
		{"GET", "/devices/{id}/occurrences", viewer, "getOccurrences", s.getOccurrences},
		{"GET", "/devices/{id}/wanted", viewer, "getWanted", s.getWanted},

		{"GET", "/events", viewer, "getEvents", s.getEvents},
		{"GET", "/live", viewer, "getLive", s.getLive},

		{"GET", "/members", owner, "getMembers", s.getMembers},
		{"POST", "/members", owner, "addMember", s.addMember},
		{"PUT", "/members/{name}/password", owner, "setPassword", s.setPassword},
		{"DELETE", "/members/{name}", owner, "removeMember", s.removeMember},
		{"GET", "/tokens", owner, "getTokens", s.getTokens},
		{"POST", "/tokens", owner, "createToken", s.createToken},
		{"DELETE", "/tokens/{name}", owner, "revokeToken", s.revokeToken},
		{"GET", "/credentials", owner, "getCredentials", s.getCredentials},
		{"POST", "/credentials", owner, "addCredential", s.addCredential},
		{"DELETE", "/credentials/{name}", owner, "revokeCredential", s.revokeCredential},
		{"POST", "/imports", owner, "importReadings", s.importReadings},
		{"GET", "/exports", viewer, "exportReadings", s.exportReadings},
		{"POST", "/database/check", owner, "checkDatabase", s.checkDatabase},
		{"POST", "/database/compact", owner, "compactDatabase", s.compactDatabase},
	}
}

// Handler answers requests from the network.
func (s *Server) Handler() http.Handler { return s.handler(s.authenticate, s.cfg.Host) }

// LocalHandler answers requests from the gateway's own Unix socket, which only
// the household's owner can open.
func (s *Server) LocalHandler() http.Handler {
	return s.handler(func(*http.Request) (principal, error) {
		return principal{Name: "cli", Role: gateway.RoleOwner, via: viaSocket}, nil
	}, func(string) bool { return true })
}

// handler wires routes and middleware; who says who is asking, and host which
// names are ours.
func (s *Server) handler(
	who func(*http.Request) (principal, error), host func(name string) bool,
) http.Handler {
	m := mux.NewRouter().UseEncodedPath()
	m.Handle("/healthz", s.plain(s.healthz)).Methods("GET", "HEAD")
	m.Handle("/readyz", s.plain(s.readyz)).Methods("GET", "HEAD")
	for _, rt := range s.routes() {
		m.Handle(base+rt.path, s.guarded(rt, who)).Methods(rt.method).Name(rt.operation)
	}
	m.NotFoundHandler = s.guarded(route{need: viewer, handle: missing}, who)
	m.MethodNotAllowedHandler = s.guarded(route{need: viewer, handle: wrongMethod}, who)
	return s.shield(s.withPage(m), host)
}

// withPage puts the dashboard where the API is not. It is not a route of the
// API's router: a route that matches everything hides wrong methods.
func (s *Server) withPage(routes http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ours := strings.HasPrefix(r.URL.Path, "/api/") || r.URL.Path == "/healthz" ||
			r.URL.Path == "/readyz"
		if ours || s.cfg.Page == nil {
			routes.ServeHTTP(w, r)
			return
		}
		s.cfg.Page.ServeHTTP(w, r)
	})
}

// missing answers where there is nothing.
func missing(http.ResponseWriter, *http.Request) error {
	return gateway.NotFoundf("there is nothing at this address")
}

// wrongMethod answers where there is something for other methods.
func wrongMethod(http.ResponseWriter, *http.Request) error {
	return statusError{http.StatusMethodNotAllowed, "this method does not belong to this address"}
}

// Operation is a row of the table of contents.
type Operation struct {
	Method, Path, ID string
	Need             gateway.Role // "" is open to everyone
}

// Operations lists what the API can do.
func (s *Server) Operations() []Operation {
	rs := s.routes()
	out := make([]Operation, len(rs))
	for i, r := range rs {
		out[i] = Operation{Method: r.method, Path: r.path, ID: r.operation, Need: r.need}
	}
	return out
}

//go:embed openapi.json
var openAPI []byte

// OpenAPI returns the document that describes the API.
func OpenAPI() []byte { return openAPI }

func (s *Server) getOpenAPI(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openAPI) // the client went away; nothing to do
	return nil
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) error {
	if err := s.cfg.Ready(); err != nil {
		return &gateway.Error{Code: gateway.CodeUnavailable, Message: err.Error()}
	}
	return writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}
