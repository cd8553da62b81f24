//! DHCP: the stack gets its address from a server, keeps it, and loses it.
#![cfg(feature = "dhcp")]

mod wire;

use std::net::Ipv4Addr;

use net_stack::{Config, Error, Ipv4};
use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol,
        Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
    },
};
use wire::{CLIENT, SERVER, World, address, at, config, failure, wait};

const LEASE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

/// Answers what the client said since the last time; says what that was.
fn serve(world: &mut World, answer: bool) -> Vec<DhcpMessageType> {
    let log = world
        .wire
        .borrow_mut()
        .log
        .replace(Vec::new())
        .unwrap_or_default();
    let mut said = Vec::new();
    for (_, frame) in log
        .iter()
        .filter(|(from, frame)| *from == CLIENT && frame.get(36..38) == Some(&[0, 67]))
    {
        let request = DhcpPacket::new_checked(&frame[42..]).unwrap();
        let request = DhcpRepr::parse(&request).unwrap();
        said.push(request.message_type);
        let kind = match request.message_type {
            DhcpMessageType::Discover => DhcpMessageType::Offer,
            _ => DhcpMessageType::Ack,
        };
        if answer {
            let reply = reply(&request, kind);
            world.client().device().inject(reply);
        }
    }
    said
}

fn reply(request: &DhcpRepr<'_>, message_type: DhcpMessageType) -> Vec<u8> {
    let dhcp = DhcpRepr {
        message_type,
        your_ip: LEASE,
        server_ip: address(SERVER),
        server_identifier: Some(address(SERVER)),
        subnet_mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
        router: Some(address(SERVER)),
        dns_servers: Some([address(SERVER)].into_iter().collect()),
        lease_duration: Some(3600),
        requested_ip: None,
        client_identifier: None,
        parameter_request_list: None,
        max_size: None,
        client_ip: Ipv4Addr::UNSPECIFIED,
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        secs: 0,
        broadcast: false,
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
        ..request.clone()
    };
    let udp = UdpRepr {
        src_port: 67,
        dst_port: 68,
    };
    let length = udp.header_len() + dhcp.buffer_len();
    let ip = Ipv4Repr {
        src_addr: address(SERVER),
        dst_addr: LEASE,
        next_header: IpProtocol::Udp,
        payload_len: length,
        hop_limit: 64,
    };
    let checksums = ChecksumCapabilities::default();
    let mut frame = vec![0; EthernetFrame::<&[u8]>::buffer_len(ip.buffer_len() + length)];
    let mut ethernet = EthernetFrame::new_unchecked(&mut frame);
    ethernet.set_src_addr(EthernetAddress([2, 0, 0, 0, 0, 2]));
    ethernet.set_dst_addr(EthernetAddress([2, 0, 0, 0, 0, 1]));
    ethernet.set_ethertype(EthernetProtocol::Ipv4);
    let mut packet = Ipv4Packet::new_unchecked(ethernet.payload_mut());
    ip.emit(&mut packet, &checksums);
    let mut packet = UdpPacket::new_unchecked(packet.payload_mut());
    udp.emit(
        &mut packet,
        &ip.src_addr.into(),
        &ip.dst_addr.into(),
        dhcp.buffer_len(),
        |payload| dhcp.emit(&mut DhcpPacket::new_unchecked(payload)).unwrap(),
        &checksums,
    );
    frame
}

const SECOND: u64 = 1_000_000;

#[test]
fn a_lease() {
    let mut world = World::with([
        Config {
            ipv4: Ipv4::Dhcp,
            ..config(CLIENT)
        },
        config(SERVER),
    ]);
    let listener = world.server().listen(at(SERVER, 80), 8).unwrap();
    assert_eq!(
        world.client().connect(at(SERVER, 80), None),
        Err(Error::NetworkDown)
    );
    world.wire.borrow_mut().log = Some(Vec::new());
    world.run(SECOND);
    assert_eq!(serve(&mut world, true), [DhcpMessageType::Discover]);
    world.run(SECOND);
    assert_eq!(serve(&mut world, true), [DhcpMessageType::Request]);
    world.run(SECOND);
    let addresses: Vec<_> = world.client().addresses().collect();
    assert_eq!((addresses[0].address, addresses[0].prefix), (LEASE.into(), 24));

    let client = world.client().connect(at(SERVER, 80), None).unwrap();
    world.until(|[_, stack]| wait(stack.accept(listener)));
    assert_eq!(world.client().stream_address(client).unwrap().ip(), LEASE);
    // The router leads elsewhere, and the server's DNS server is asked.
    world
        .client()
        .connect("192.0.2.1:80".parse().unwrap(), None)
        .unwrap();
    #[cfg(feature = "dns")]
    {
        let lookup = world
            .client()
            .look_up("example.com", net_stack::Family::Ipv4)
            .unwrap();
        assert_eq!(world.client().lookup_result(lookup), Err(Error::WouldBlock));
    }

    // It is renewed in time.
    world.run(2000 * SECOND);
    assert_eq!(serve(&mut world, true), [DhcpMessageType::Request]);
    world.run(2000 * SECOND);
    assert_eq!(world.client().connected(client), Ok(()));
    // And if nobody answers any more, it is over, with the connections that had it.
    serve(&mut world, false);
    world.run(4000 * SECOND);
    assert_eq!(
        world.client().addresses().count(),
        usize::from(cfg!(feature = "ipv6"))
    );
    assert_eq!(
        failure(world.client().receive(client, &mut [0])),
        Some(Error::ConnectionAborted)
    );
    assert!(world.client().connect(at(SERVER, 80), None).is_err());
}
