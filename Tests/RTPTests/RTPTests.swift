import RTP
import Testing
