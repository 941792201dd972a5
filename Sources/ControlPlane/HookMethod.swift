/// What a backend is asked or told (reference part 1.5); the raw value is the documented name.
package enum HookMethod: String, Hashable, Sendable, CaseIterable {
    case connect
    case connectionStatusEvent = "ConnectionStatusEvent"
    case publishStream
    case unPublishStream
    case playStream
    case stopStream
    case pauseStream
    case playHLS
    case playRTSP
    case streamStatusEvent = "StreamStatusEvent"
    case streamKeepAliveEvent = "StreamKeepAliveEvent"
    case snapshot
    case onDataEvent = "OnDataEvent"
    case dataStatusEvent = "DataStatusEvent"
    case sendStreamEvent
    case streamEvent = "StreamEvent"
    case sendBugReport
    case bugReportStatusEvent = "BugReportStatusEvent"
    case pushLogs
    case sessionDebug
    case sessionDebugStatusEvent = "SessionDebugStatusEvent"
    case errorEvent = "ErrorEvent"

    /// Pages of the vendor differ about two names: a method is sent under the first of these that the application has.
    package var names: [String] {
        switch self {
        case .onDataEvent: [rawValue, "sendData"]
        case .sendBugReport: [rawValue, "submitBugReport"]
        default: [rawValue]
        }
    }
}
