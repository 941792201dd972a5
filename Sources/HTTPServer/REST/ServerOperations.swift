import ControlPlane

/// `drain` and `resume`: the server as a whole.
struct ServerOperations: Sendable {
    let control: ControlPlane

    var all: [RESTOperation] {
        [
            RESTOperation(
                "drain",
                "Nothing new is taken from now on, /health/ready answers 503; what is live goes on.",
                answer: .nothing
            ) { _ in
                control.setDraining(true)
                return RESTOperation.done
            },
            RESTOperation("resume", "Undoes drain.", answer: .nothing) { _ in
                control.setDraining(false)
                return RESTOperation.done
            },
        ]
    }
}
