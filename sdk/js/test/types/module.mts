import { Conference, emedia } from '@tidegate/client';

const conference: Conference = new Conference({ apiURL: 'https://rtc.example.com', token: 'ey' });
emedia.mgr.setHost('https://rtc.example.com');
conference.wake();
