import ControlPlane
import HLS
import HTTPServer

/// HLS as the HTTP side sees it: streams from the registry, rights from the control plane.
package struct HLSAccess: HLSBackend {
    /// HTTP's Service Unavailable.
    private static let unavailable = 503

    private let output: HLSOutput
    private let control: ControlPlane
    /// Whether the backend is asked who may play (`hls.auth`); tokens decide in any case.
    private let asksBackend: Bool

    package init(_ output: HLSOutput, control: ControlPlane, asksBackend: Bool) {
        self.output = output
        self.control = control
        self.asksBackend = asksBackend
    }

    package func stream(named name: String) async -> HLSLookup {
        switch await lookUp(name) {
        case .stream(let stream): .stream(stream)
        case .notFound: .notFound
        case .refused(let reason): .refused(reason)
        }
    }

    /// A stream on demand is made; it goes on as long as its output does (`HLSTapSource`).
    private func lookUp(_ name: String) async -> HLSRegistry.Lookup {
        let lookup = output.registry.stream(name)
        guard case .notFound = lookup, StreamName.check(name) == .valid, control.isSharedOnDemand(name) else {
            return lookup
        }
        do throws(StreamRefusal) {
            let hold = try await control.hold(name)
            defer { hold.release() }
            return output.registry.stream(hold.name)
        } catch {
            return .refused(error.info)
        }
    }

    package func running(named name: String) -> HLSStream? { output.registry.running(name) }

    package var all: [HLSStream] { output.registry.all }

    package func terminate(_ name: String) -> Bool { output.registry.terminate(name) }

    package func play(_ viewer: ViewerRequest) async -> ViewerAdmission {
        // Like every other player, who comes while the server is emptied is sent elsewhere.
        guard !control.isDraining else {
            return ViewerAdmission(.refuse(code: Self.unavailable, reason: "The server is draining"))
        }
        return await control.admit(viewer, asksBackend: asksBackend)
    }
}
