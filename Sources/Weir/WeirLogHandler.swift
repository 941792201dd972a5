import Logging

/// The backend of swift-log: hands lines to the shared `LogSink`, whose level counts unless a logger was given its own.
package struct WeirLogHandler: LogHandler {
    private let label: String
    private let sink: LogSink
    private var ownLevel: Logger.Level?
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?

    package init(label: String, sink: LogSink) {
        self.label = label
        self.sink = sink
    }

    /// Follows `LogSink.level`, or that of its session, until it is set.
    package var logLevel: Logger.Level {
        get { ownLevel ?? Logger.Level(sink.level(for: metadata)) }
        set { ownLevel = newValue }
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var all = metadata
        if let more = metadataProvider?.get() { all.merge(more) { $1 } }
        if let more = event.metadata { all.merge(more) { $1 } }
        if let error = event.error { all["error"] = .string("\(error)") }
        if label != "weir", all["logger"] == nil { all["logger"] = .string(label) }
        sink.write(event, metadata: all)
    }
}
