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
        guard case .notFound = lookup, control.isSharedOnDemand(name) else { return lookup }
        do throws(StreamRefusal) {
            let hold = try await control.hold(name)
            defer { hold.release() }
            return output.registry.stream(hold.name)
        } catch {
            return error.code == .notFound ? .notFound : .refused(error.info)
        }
    }

    package func running(named name: String) -> HLSStream? { output.registry.running(name) }

    package var all: [HLSStream] { output.registry.all }

    /// By the name, or by how it is shown.
    package func terminate(_ name: String) -> Bool {
        if output.registry.terminate(name) { return true }
        let shown = all.filter { StreamName.shown($0.name) == name }
        for stream in shown { output.registry.terminate(stream.name) }
        return !shown.isEmpty
    }

    package func play(_ viewer: ViewerRequest) async -> ViewerAdmission {
        // Like every other player, who comes while the server is emptied is sent elsewhere.
        guard !control.isDraining else {
            return ViewerAdmission(.refuse(code: Self.unavailable, reason: "The server is draining"))
        }
        // A name that has the server connect to wherever it says is the backend's affair in any case.
        let isURL = StreamName.check(viewer.name) == .url
        return await control.admit(viewer, asksBackend: asksBackend || isURL)
    }
}
