import HLS
import HTTPServer
import MediaFormats
import Testing
import WeirJSON
import Wire

@Suite struct RESTHLSTests {
    private func withHLS(_ body: @escaping @Sendable (Fixture, FakeHLS) async throws -> Void) async throws {
        let backend = FakeHLS()
        backend.add("a b")
        backend.add("cam")
        try await withServer(hls: HLSService(backend: backend)) { server in try await body(server, backend) }
    }

    @Test func outputsAreListedWithTheirViewers() async throws {
        try await withHLS { server, backend in
            backend.running(named: "cam")?.touch(viewer: "one")
            backend.running(named: "cam")?.touch(viewer: "two")
            let all = try await server.found("hls/find_all")
            #expect(all.map { $0["streamName"]?.text } == ["a b", "cam"])
            #expect(all.map { $0["subscribers"]?.integer } == [0, 2])
            #expect(all.map { $0["playlist"]?.text } == ["/a%20b/a%20b.m3u8", "/cam/cam.m3u8"])
            #expect(all[1]["status"]?.text == "ACTIVE" && all[1]["profiles"]?.texts == ["main"])
            #expect(try await server.found("hls/find_all", #"{"offset": 1, "size": 1}"#).count == 1)
            backend.running(named: "cam")?.publisherGone(now: backend.now)
            #expect(try await server.found("hls/find_all")[1]["status"]?.text == "WAITING")
            backend.running(named: "cam")?.end(now: backend.now)
            #expect(try await server.found("hls/find_all")[1]["status"]?.text == "ENDED")
        }
    }

    @Test func profilesAreThoseOfTheOutput() async throws {
        try await withHLS { server, _ in
            let id = try #require(try await server.found("hls/find_all").last?["id"]?.text)
            let profiles = try await server.found("hls/profiles", #"{"hlsId": "\#(id)"}"#)
            #expect(profiles.count == 1 && profiles[0]["playlist"]?.text == "/cam/main/live.m3u8")
            #expect(profiles[0]["status"]?.text == "ACTIVE")
            #expect(profiles[0]["codecs"]?.texts == ["opus"] && (profiles[0]["bandwidth"]?.integer ?? 0) > 0)
            let missing = try await server.call("hls/profiles", #"{"hlsId": "\#(id)", "profileName": "720p"}"#)
            #expect(missing.status == .notFound)
            #expect(try await server.call("hls/profiles", #"{"hlsId": "none"}"#).status == .notFound)
        }
    }

    @Test func outputsAreBegunAndEnded() async throws {
        try await withHLS { server, backend in
            #expect(try await server.call("hls/startup", #"{"name": "cam"}"#).status == .ok)
            #expect(try await server.call("hls/startup", #"{"name": "none"}"#).status == .notFound)
            #expect(try await server.call("hls/terminate", #"{"name": "cam"}"#).status == .ok)
            #expect(backend.running(named: "cam") == nil)
            #expect(try await server.call("hls/terminate", #"{"name": "cam"}"#).status == .notFound)
            backend.state.withLock { $0.refusal = "too many" }
            let refused = try await server.call("hls/startup", #"{"name": "cam"}"#)
            #expect(refused.status == .serviceUnavailable && refused.text.contains("too many"))
        }
    }

    @Test func whereHLSIsSwitchedOffCallsSaySo() async throws {
        try await withServer { server in
            for path in ["startup", "terminate"] {
                let answer = try await server.call("hls/\(path)", #"{"name": "cam"}"#)
                #expect(answer.status == .notImplemented)
            }
            let list = try await server.call("hls/find_all")
            #expect(list.status == .notImplemented)
        }
    }

    @Test func viewersAreInTheStatistics() async throws {
        try await withHLS { server, backend in
            backend.running(named: "cam")?.touch(viewer: "one")
            let text = try await server.send(.get, "/?action=stat").text
            #expect(text.contains("connections_hls=1\n") && text.contains("streams_hls=2\n"))
        }
    }
}
