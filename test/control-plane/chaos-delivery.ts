/** Names one request to the function, in the header of the request and of the calls to Google's APIs that it makes. */
export const deliveryHeader = 'x-chaos-delivery';
