import ControlPlane
import Foundation
import HTTPServer
import HTTPTypes
import HummingbirdTesting
import NIOCore
import Synchronization
import Testing
import WeirJSON

/// Files of a folder of the test's own.
private final class Shelf: RecordLibrary {
    let access: RecordAccess
    private let folder: URL
    private let entries: Mutex<[RecordEntry]>

    init(_ access: RecordAccess, _ files: [String: String]) throws {
        self.access = access
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("weir-shelf-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        var made: [RecordEntry] = []
        for (name, text) in files.sorted(by: { $0.key < $1.key }) {
            try Data(text.utf8).write(to: folder.appendingPathComponent(name))
            let bytes = Int64(text.utf8.count)
            made.append(RecordEntry(name: name, bytes: bytes, modifiedAt: 1_700_000_000_123, type: "video/webm"))
        }
        entries = Mutex(made)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    func entries() async -> [RecordEntry] { entries.withLock { $0 } }
    func entry(_ name: String) async -> RecordEntry? { entries.withLock { $0.first { $0.name == name } } }
    func path(of entry: RecordEntry) -> String { folder.appendingPathComponent(entry.name).path }

    func details(of entry: RecordEntry) async -> RecordDetails? {
        guard entry.bytes > 0 else { return nil }
        return RecordDetails(
            duration: .milliseconds(12_345), audioCodec: "opus", videoCodec: "vp8", width: 640, height: 480)
    }

    func thumbnail(of entry: RecordEntry) async -> [UInt8]? { entry.bytes > 0 ? [0x89, 0x50, 0x4e, 0x47] : nil }

    func delete(_ name: String) async -> Bool {
        entries.withLock { entries in
            let before = entries.count
            entries.removeAll { $0.name == name }
            return entries.count != before
        }
    }
}

@Suite(.timeLimit(.minutes(4))) struct RecordingTests {
    private static let name = "a b~.webm"
    private static let uri = "/client/records/a%20b~.webm"
    private static let outside: HTTPFields = [.xForwardedFor: "192.0.2.1"]

    private func shelf(_ access: RecordAccess = .link) throws -> Shelf {
        try Shelf(access, [Self.name: "0123456789", "empty.webm": ""])
    }

    @Test func filesAreServedWholeAndInParts() async throws {
        try await withServer(recordings: try shelf()) { server in
            let whole = try await server.send(.get, Self.uri)
            #expect(whole.status == .ok && whole.text == "0123456789" && whole.headers[.acceptRanges] == "bytes")
            #expect(whole.headers[.contentType] == "video/webm")
            #expect(whole.headers[.lastModified] == "Tue, 14 Nov 2023 22:13:20 GMT")
            let parts: [(String, Int, String, String?)] = [
                ("bytes=0-3", 206, "0123", "bytes 0-3/10"), ("bytes=8-", 206, "89", "bytes 8-9/10"),
                ("bytes=-3", 206, "789", "bytes 7-9/10"), ("bytes=-99", 206, "0123456789", "bytes 0-9/10"),
                ("bytes=5-999999999999999999", 206, "56789", "bytes 5-9/10"),
                ("Bytes= 1 - 2 ", 206, "12", "bytes 1-2/10"),
                ("bytes=10-", 416, "", "bytes */10"), ("bytes=-0", 416, "", "bytes */10"),
                ("bytes=4-2", 200, "0123456789", nil), ("bytes=0-1,4-5", 200, "0123456789", nil),
                ("bytes=a-b", 200, "0123456789", nil), ("bytes=99999999999999999999-", 200, "0123456789", nil),
                ("lines=0-1", 200, "0123456789", nil), ("bytes=-", 200, "0123456789", nil),
                ("bytes=--1", 200, "0123456789", nil),
            ]
            for (range, status, text, told) in parts {
                let part = try await server.send(.get, Self.uri, nil, [.range: range])
                #expect(part.status.code == status && part.text == text, "\(range)")
                #expect(part.headers[.contentRange] == told, "\(range)")
            }
            let head = try await server.send(.head, Self.uri)
            #expect(head.status == .ok && head.headers[.contentLength] == "10" && head.body.readableBytes == 0)
        }
    }

    @Test func conditionsAreHeeded() async throws {
        try await withServer(recordings: try shelf()) { server in
            let tag = try #require(try await server.send(.get, Self.uri).headers[.eTag])
            #expect(try await server.send(.get, Self.uri, nil, [.ifNoneMatch: tag]).status == .notModified)
            let range: HTTPFields = [.range: "bytes=0-1"]
            func status(_ condition: String) async throws -> Int {
                var headers = range
                headers[.ifRange] = condition
                return try await server.send(.get, Self.uri, nil, headers).status.code
            }
            #expect(try await status(tag) == 206)
            #expect(try await status("W/\(tag)") == 200)
            #expect(try await status("\"other\"") == 200)
            #expect(try await status("Tue, 14 Nov 2023 22:13:20 GMT") == 200)
        }
    }

    @Test func anEmptyFileIsNoError() async throws {
        try await withServer(recordings: try shelf()) { server in
            #expect(try await server.send(.get, "/client/records/empty.webm").status == .ok)
            let part = try await server.send(.get, "/client/records/empty.webm", nil, [.range: "bytes=-5"])
            #expect(part.status == .rangeNotSatisfiable)
        }
    }

    @Test func aDownloadHasItsName() async throws {
        try await withServer(recordings: try shelf()) { server in
            let answer = try await server.send(.get, Self.uri + "?download")
            #expect(answer.headers[.contentDisposition] == "attachment; filename*=UTF-8''a%20b~.webm")
            #expect(answer.headers[.xContentTypeOptions] == "nosniff")
        }
    }

    @Test(arguments: [(RecordAccess.link, 200, 200), (.operator, 200, 403), (.off, 404, 404)])
    func whoMayFetchIsConfigured(access: RecordAccess, inside: Int, outside: Int) async throws {
        try await withServer(recordings: try shelf(access)) { server in
            let here = try await server.send(.get, Self.uri)
            #expect(here.status.code == inside)
            let elsewhere = try await server.send(.get, Self.uri, nil, Self.outside)
            #expect(elsewhere.status.code == outside)
            for (method, uri) in [
                (HTTPRequest.Method.get, "/api/recordings"), (.get, "/api/recordings/empty.webm/thumbnail"),
                (.delete, "/api/recordings/empty.webm"),
            ] {
                let answer = try await server.send(method, uri, nil, Self.outside)
                #expect(answer.isProblem(403), "\(uri)")
            }
        }
    }

    @Test func namesOfTheNetworkFindNothing() async throws {
        try await withServer(recordings: try shelf()) { server in
            for name in ["nothing.webm", "..%2Fx", "%00", "%", "a%20b~.webm%2F", String(repeating: "x", count: 5_000)] {
                let answer = try await server.send(.get, "/client/records/\(name)")
                #expect(answer.isProblem(404), "\(name.prefix(20))")
            }
        }
    }

    @Test func theOperatorFindsAndDeletes() async throws {
        try await withServer(recordings: try shelf()) { server in
            let all = try await server.found("recording/find_all")
            #expect(all.count == 2)
            #expect(all[0]["uri"]?.text == Self.uri && all[0]["duration"]?.integer == 12_345)
            #expect(all[1]["duration"] == nil)
            #expect(try await server.call("recording/find", "{\"name\":\"none\"}").isProblem(404))
            #expect(try await server.call("recording/find", "{\"name\":\"empty.webm\"}").status == .ok)
            #expect(try await server.send(.get, "/api/recordings").text.contains("\"bytes\":10"))
            let picture = try await server.send(.get, "/api/recordings/a%20b~.webm/thumbnail")
            #expect(picture.status == .ok && picture.headers[.contentType] == "image/png")
            #expect(try await server.send(.get, "/api/recordings/empty.webm/thumbnail").isProblem(404))
            #expect(try await server.call("recording/delete", "{\"name\":\"empty.webm\"}").status == .ok)
            #expect(try await server.call("recording/delete", "{\"name\":\"empty.webm\"}").isProblem(404))
            #expect(try await server.send(.delete, "/api/recordings/a%20b~.webm").status == .noContent)
            #expect(try await server.call("recording/find_all").isProblem(404))
        }
    }
}
