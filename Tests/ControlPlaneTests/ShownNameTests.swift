import ControlPlane
import Testing

/// What anybody is shown of names that are URLs.
@Suite("Names without secrets")
struct ShownNameTests {
    @Test(arguments: [
        ("lobby", "lobby"),
        ("mail@example.com", "mail@example.com"),
        ("vod://clip.mp4", "vod://clip.mp4"),
        ("rtsp://camera/live", "rtsp://camera/live"),
        ("rtsp://camera:8554/live@1", "rtsp://camera:8554/live@1"),
        ("rtsp://admin:secret@camera/live", "rtsp://camera/live"),
        ("RTSP://admin@camera", "RTSP://camera"),
        ("rtsps://admin:sec%40ret@[2001:db8::1]:322/live?channel=1", "rtsps://[2001:db8::1]:322/live?channel=1"),
        // As people write them, not as they should.
        ("rtsp://admin:se@cret@camera/live", "rtsp://camera/live"),
        ("rtsp://admin:se/cret@camera/live", "rtsp://camera/live"),
        ("rtsp://admin:se?cret@camera/live", "rtsp://camera/live"),
        ("rtsp://admin:s#e/c@r?et@camera/live", "rtsp://camera/live"),
        (
            "rtsp://camera/user=admin&password=secret&channel=1.sdp",
            "rtsp://camera/user=admin&password=***&channel=1.sdp"
        ),
        ("rtsp://camera/live?Pwd=secret&token=x", "rtsp://camera/live?Pwd=***&token=***"),
        ("rtsp://camera/live?password=", "rtsp://camera/live?password="),
        ("://", "://"),
    ])
    func `secrets are left out`(name: String, shown: String) {
        #expect(StreamName.shown(name) == shown)
    }
}
