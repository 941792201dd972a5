import ControlPlane
import TestSupport

/// Keeps reports and logs in memory, or refuses them as told.
final class FakeStore: DiagnosticStore {
    struct State: Sendable {
        var reports: [String] = []
        var logs: [FakeLog] = []
        var error: DiagnosticError?
        /// Questions wait for it.
        var hold: Latch?
    }

    let state = Watched(State())

    func keepReport(_ text: String, session: String) async throws(DiagnosticError) -> String {
        await state.value.hold?.wait()
        if let error = state.value.error { throw error }
        return state.update { state in
            state.reports.append(text)
            return "report-\(state.reports.count)"
        }
    }

    func openLog(_ kind: DiagnosticLogKind, session: String) async throws(DiagnosticError) -> any SessionLog {
        await state.value.hold?.wait()
        if let error = state.value.error { throw error }
        return state.update { state in
            let log = FakeLog("\(kind.rawValue)-\(state.logs.count + 1)")
            state.logs.append(log)
            return log
        }
    }
}

final class FakeLog: SessionLog {
    struct State: Sendable {
        var lines: [String] = []
        var closes = 0
    }

    let fileName: String
    let state = Watched(State())

    init(_ fileName: String) { self.fileName = fileName }

    func append(_ text: String) { state.update { $0.lines.append(text) } }
    func close() async { state.update { $0.closes += 1 } }
}

/// Makes pictures as told.
final class FakePictures: SnapshotMaker {
    struct State: Sendable {
        var picture: [UInt8] = [0x89, 0x50, 0x4e, 0x47]
        var error: SnapshotError?
        var hold: Latch?
        var asked: [PeerID] = []
    }

    let state = Watched(State())

    func snapshot(of publisher: PeerID, stream: String) async throws(SnapshotError) -> [UInt8] {
        state.update { $0.asked.append(publisher) }
        await state.value.hold?.wait()
        if let error = state.value.error { throw error }
        return state.value.picture
    }
}
