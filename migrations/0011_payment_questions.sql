-- The bank has two words about a payment: of its QR code, and of its money. Either may know first. Each look asks of one, in turn, and
-- so costs the bank one question. True: the last look asked of the money; the first one will ask of the code.
alter table payment add column asked_of_money boolean not null default true;
