import ControlPlane

/// All kinds of streams on demand: files, and what is pulled. The first that knows a name serves it.
struct SourceDirectory: OnDemandSources {
    let kinds: [any OnDemandSources]

    func source(for name: String) -> (any OnDemandSource)? {
        for kind in kinds {
            if let source = kind.source(for: name) { return source }
        }
        return nil
    }

    func isReserved(_ name: String) -> Bool { kinds.contains { $0.isReserved(name) } }
}
