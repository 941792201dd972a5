import ControlPlane
import RESTHooks
import Testing
import WeirJSON

@Suite("Viewers without a session: playHLS, playRTSP", .timeLimit(.minutes(4)))
struct ViewerTests {
    private static let hls = ViewerRequest(
        method: .playHLS, appKey: "app", sessionId: "v1", name: "cam", mediaSessionId: "u-cam-HLS", token: "tok",
        custom: JSONText(#"{"token":"tok"}"#))
    private static let rtsp = ViewerRequest(
        method: .playRTSP, appKey: "app", sessionId: "v2", name: "cam", mediaSessionId: "u-cam-RTSP",
        rtspUrl: "rtsp://host:8554/cam", userAgent: "LibVLC/3")

    @Test func theBackendIsToldWhoWantsWhat() async throws {
        let plant = try Plant()
        #expect(await plant.service.play(Self.hls) == .allow)
        #expect(await plant.service.play(Self.rtsp) == .allow)
        let posts = plant.transport.state.value.posts
        #expect(posts.map(\.url) == ["http://backend/app/playHLS", "http://backend/app/playRTSP"])
        let (hls, rtsp) = (posts[0].body, posts[1].body)
        #expect(hls["appKey"]?.text == "app" && hls["sessionId"]?.text == "v1" && hls["nodeId"]?.text != nil)
        #expect(hls["name"]?.text == "cam" && hls["mediaSessionId"]?.text == "u-cam-HLS")
        #expect(hls["mediaProvider"]?.text == "HLS" && hls["token"]?.text == "tok")
        #expect(hls["custom"]?["token"]?.text == "tok" && hls["rtspUrl"] == nil && hls["User-Agent"] == nil)
        #expect(rtsp["mediaProvider"]?.text == "RTSP" && rtsp["rtspUrl"]?.text == "rtsp://host:8554/cam")
        #expect(rtsp["User-Agent"]?.text == "LibVLC/3" && rtsp["userAgent"]?.text == "LibVLC/3" && rtsp["token"] == nil)
    }

    /// Whatever `restOnError` says: a viewer without a session has no connect answer that could.
    @Test(arguments: PolicyTests.errors)
    func anyAnswerBut200Refuses(behaviour: FakeTransport.Behaviour, code: Int, reason: String) async throws {
        let plant = try Plant()
        plant.transport.script("", behaviour)
        #expect(await plant.service.play(Self.hls) == .refuse(code: code, reason: reason))
        #expect(await plant.service.play(Self.rtsp) == .refuse(code: code, reason: reason))
    }

    @Test func aBackendThatHangsRefusesInTime() async throws {
        let plant = try Plant()
        plant.transport.script("", .hang)
        let decision = Task { await plant.service.play(Self.hls) }
        try await plant.transport.state.wait { $0.inFlight == 1 }
        try await plant.clock.sleeper(until: HookSettings().timeout)
        plant.clock.advance(by: HookSettings().timeout)
        #expect(await decision.value == .refuse(code: 503, reason: "Backend did not answer in time"))
    }

    @Test func whoseMethodIsNotAttachedAsksNobody() async throws {
        let plant = try Plant(HookSettings(), [try Plant.application(methods: ["playRTSP"])])
        plant.transport.script("", .status(403, "Forbidden"))
        #expect(await plant.service.play(Self.hls) == .allow)
        #expect(await plant.service.play(Self.rtsp) == .refuse(code: 403, reason: "Forbidden"))
        var unknown = Self.hls
        unknown.appKey = "nobody"
        #expect(await plant.service.play(unknown) == .refuse(code: 403, reason: "Unknown application"))
    }
}
